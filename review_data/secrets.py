"""Finds secrets in text and masks their values: used by the finder, every output and every request.

Owns the formats (providers' documented token prefixes, private key blocks, URLs with passwords, assignments
to names that speak of a secret). Names are never hidden, only values; what is kept of a value is the part
that the format makes public. Pure; what to do about a secret is the callers' affair.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

MASK: Final = "****"


class Secret(NamedTuple):
    """A secret's value at `start:end` of the text; the first `keep` characters are not secret."""

    kind: str
    name: str
    start: int
    end: int
    keep: int
    certain: bool


class _Format(NamedTuple):
    kind: str
    hints: tuple[str, ...]
    pattern: re.Pattern[str]


def _format(kind: str, hints: str, pattern: str) -> _Format:
    return _Format(kind, tuple(hints.split()), re.compile(pattern))


_EDGE: Final = r"(?<![A-Za-z0-9])"
# `head` is the public prefix, `value` the secret part. Prefixes: the providers' own token documentation.
_FORMATS: Final = (
    _format(
        "AWS access key id", "AKIA ASIA", _EDGE + r"(?P<head>AKIA|ASIA)(?P<value>[A-Z0-9]{16})(?![A-Z0-9])"
    ),
    _format(
        "GitHub token", "ghp_ gho_ ghu_ ghs_ ghr_", _EDGE + r"(?P<head>gh[pousr]_)(?P<value>[A-Za-z0-9]{30,})"
    ),
    _format("GitHub token", "github_pat_", _EDGE + r"(?P<head>github_pat_)(?P<value>[A-Za-z0-9_]{30,})"),
    _format(
        "GitLab token",
        "glpat- gldt- glrt- glptt-",
        _EDGE + r"(?P<head>gl(?:pat|dt|rt|ptt)-)(?P<value>[\w-]{18,})",
    ),
    _format("Slack token", "xox", _EDGE + r"(?P<head>xox[abeoprs]-)(?P<value>[A-Za-z0-9-]{16,})"),
    _format(
        "Slack webhook",
        "hooks.slack.com",
        r"(?P<head>hooks\.slack\.com/services/)(?P<value>[A-Za-z0-9/]{20,})",
    ),
    _format(
        "Stripe key",
        "sk_live_ rk_live_ sk_test_ whsec_",
        _EDGE + r"(?P<head>(?:[sr]k_(?:live|test)|whsec)_)(?P<value>[A-Za-z0-9+/=]{16,})",
    ),
    _format("Google API key", "AIza", _EDGE + r"(?P<head>AIza)(?P<value>[\w-]{35})(?![\w-])"),
    _format("Google OAuth secret", "GOCSPX-", _EDGE + r"(?P<head>GOCSPX-)(?P<value>[\w-]{20,})"),
    _format("npm token", "npm_", _EDGE + r"(?P<head>npm_)(?P<value>[A-Za-z0-9]{30,})"),
    _format("PyPI token", "pypi-", _EDGE + r"(?P<head>pypi-)(?P<value>AgE[\w-]{40,})"),
    _format("SendGrid key", "SG.", _EDGE + r"(?P<head>SG\.)(?P<value>[\w-]{16,}\.[\w-]{16,})"),
    _format("Twilio key", "SK AC", _EDGE + r"(?P<head>SK)(?P<value>[0-9a-f]{32})(?![0-9a-f])"),
    _format("Mailgun key", "key-", _EDGE + r"(?P<head>key-)(?P<value>[0-9a-f]{32})(?![0-9a-f])"),
    _format(
        "OpenAI key", "sk-", _EDGE + r"(?P<head>sk-(?:proj-|svcacct-|ant-)?)(?P<value>[A-Za-z0-9_-]{32,})"
    ),
    _format("Hugging Face token", "hf_", _EDGE + r"(?P<head>hf_)(?P<value>[A-Za-z0-9]{30,})"),
    _format("DigitalOcean token", "dop_v1_ doo_v1_", _EDGE + r"(?P<head>do[op]_v1_)(?P<value>[0-9a-f]{64})"),
    _format(
        "Shopify token", "shpat_ shpss_", _EDGE + r"(?P<head>shp(?:at|ss|ca|pa)_)(?P<value>[0-9a-fA-F]{32})"
    ),
    _format("Square token", "sq0", _EDGE + r"(?P<head>sq0(?:atp|csp)-)(?P<value>[\w-]{22,})"),
    _format("Vault token", "hvs.", _EDGE + r"(?P<head>hvs\.)(?P<value>[\w-]{24,})"),
    _format("Telegram bot token", ":AA", r"(?<!\d)(?P<head>\d{8,10}:AA)(?P<value>[\w-]{33})(?![\w-])"),
    _format("Azure storage key", "AccountKey", r"(?P<head>AccountKey=)(?P<value>[A-Za-z0-9+/]{40,}={0,2})"),
    _format("Azure shared access signature", "sig=", r"(?P<head>[?&]sig=)(?P<value>[A-Za-z0-9%+/]{40,})"),
    _format("JSON Web Token", "eyJ", _EDGE + r"(?P<head>eyJ)(?P<value>[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{16,})"),
    _format(
        "private key",
        "PRIVATE KEY",
        r"(?P<head>-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----)"
        r"(?P<value>(?:(?!-----)[\s\S]){16,}?)(?=-----END|\Z)",
    ),
    _format(
        "password in a URL",
        "://",
        r"(?P<head>\b[a-z][a-z0-9+.-]{1,30}://[^\s:/@\"'<>${}()]{0,64}:)(?P<value>[^\s:/@\"'<>${}()]{3,128})(?=@[\w\[])",
    ),
)
_NAME: Final = (
    r"(?P<name>[\w.-]{0,64}?(?:password|passwd|passphrase|passwort|pwd|secret|token|api[_-]?key|apikey"
    r"|access[_-]?key|private[_-]?key|signing[_-]?key|encryption[_-]?key|master[_-]?key|auth[_-]?key"
    r"|account[_-]?key|credentials?|pepper)[\w-]{0,40})"
)
_ASSIGNED: Final = (
    re.compile(
        rf"(?i){_NAME}[\"'\]]{{0,2}}(?:\s*:\s*[\w.\[\]<>?| ]{{1,40}})?\s*(?::=|=>|=|:)\s*(?:[bur]|new String)?"
        rf"(?P<quote>[\"'`])(?P<value>[^\"'`\s\n]{{8,200}})(?P=quote)"
    ),
    re.compile(
        rf"(?i)[\"']{_NAME}[\"']\s*(?:,|\)\s*(?:\?\?|\|\||\?:))\s*(?:default\s*[=:]\s*)?"
        rf"(?P<quote>[\"'`])(?P<value>[^\"'`\s\n]{{8,200}})(?P=quote)"
    ),
    re.compile(
        rf"(?im)^[+\- ]?[ \t]*(?:-[ \t]+|export[ \t]+|ENV[ \t]+|ARG[ \t]+)?{_NAME}(?:=|:[ \t]+|[ \t]+=[ \t]+)"
        rf"(?P<quote>)(?P<value>[^\s\"'`,;()\[\]{{}}$<>]{{8,200}})[ \t]*$"
    ),
)
_NAME_HINT: Final = re.compile(
    r"(?i)passw|passphrase|pwd|secret|token|api_?-?key|access_?-?key|private_?-?key|signing_?-?key"
    r"|encryption_?-?key|master_?-?key|auth_?-?key|account_?-?key|credential|pepper"
)
# Names that end so hold a place, a length, a flag or a lookup, not the secret itself.
_NAME_OF_SOMETHING_ELSE: Final = re.compile(
    r"(?i)(?:_|-|\b)(?:name|names|field|header|path|file|url|uri|endpoint|type|id|ids|arn|ref|regex|pattern|format|length"
    r"|ttl|expiry|expires|lifetime|policy|hint|label|placeholder|prefix|suffix|param|env|var|table|column|scope|count"
    r"|limit|message|error|hash|algorithm|class|kind|cookie|claim|issuer|template|version|selector|ring|usage|budget)$"
    r"|(?:Name|Field|Header|Path|File|Url|Uri|Type|Id|Regex|Pattern|Length|Ttl|Label|Placeholder|Prefix|Param|Message"
    r"|Error|Hash|Class|Kind|Cookie|Claim|Issuer|Template)$|public|tokeni[sz]e|(?:page|next|continuation|sync|cancell?ation)_?[tT]oken|max_?tokens|csrf_?token_?name"
)
_NO_SECRET: Final = re.compile(
    r"(?i)change[-_ ]?me|example|placeholder|dummy|sample|your[-_]|redacted|insert|replace|todo|fixme|xxxx|\*\*\*|\.\.\."
    r"|^(?:test|fake|mock|foo|bar|none|null|true|false|undefined|secret|password|token|string|admin|root|postgres|guest"
    r"|hunter2|letmein|abc|123)[-_]?(?:test|fake|secret|password|token|key|string|\d*)$|^(?:test|fake|mock|dev|local)[-_]"
    r"|[-_](?:test|fake|mock|dev|local)$|^\$|\$\{|\{\{|\}\}|<[^>]+>|%\(|%[sdv]\b|^env[.:(]|process\.env|os\.environ|getenv"
    r"|^vault:|^ENC\[|^ssm:|^arn:|^https?://|^/|^\.{1,2}/|^@|^#|not[-_]?(?:a[-_]?)?(?:real|secret)|in-?secure|unsafe|only-for"
)
_WORDS: Final = re.compile(
    r"[A-Za-z]+(?:[-_.:/ ][A-Za-z]+)*\.?[a-z]*|[a-z]+(?:[A-Z][a-z]+)+\d?|v?\d+(?:\.\d+)*[a-z]*"
)


def find_secrets(text: str) -> tuple[Secret, ...]:
    """Secrets in the order of their places, none overlapping; `certain` for provider formats."""
    taken: list[Secret] = []
    for secret in (*_formatted(text), *_assigned(text)):
        if all(secret.end <= other.start or secret.start >= other.end for other in taken):
            taken.append(secret)
    return tuple(sorted(taken, key=lambda secret: secret.start))


def mask(text: str) -> str:
    """The text with every secret's value replaced by `****` after its public prefix; idempotent."""
    parts, at = [], 0
    for secret in find_secrets(text):
        parts.append(text[at : secret.start + secret.keep] + MASK)
        at = secret.end
    return "".join(parts) + text[at:] if parts else text


def is_placeholder(value: str) -> bool:
    """Whether a value stands for a secret (an example, a template, a lookup, plain words) and is none."""
    return bool(_NO_SECRET.search(value) or _WORDS.fullmatch(value) or len(set(value)) < 5)


def _formatted(text: str) -> Iterator[Secret]:
    for kind, hints, pattern in _FORMATS:
        if any(hint in text for hint in hints):
            for found in pattern.finditer(text):
                head = len(found["head"])
                if not found["value"].startswith(MASK):
                    yield Secret(kind, "", found.start(), found.end(), head, True)


def _assigned(text: str) -> Iterator[Secret]:
    if not _NAME_HINT.search(text):
        return
    for pattern in _ASSIGNED:
        for found in pattern.finditer(text):
            name, value = found["name"], found["value"]
            if _looks_secret(value) and not _NAME_OF_SOMETHING_ELSE.search(name):
                yield Secret("hard-coded secret", name, found.start("value"), found.end("value"), 0, False)


def _looks_secret(value: str) -> bool:
    if is_placeholder(value):
        return False
    classes = sum(bool(re.search(kind, value)) for kind in (r"[a-z]", r"[A-Z]", r"\d", r"[^A-Za-z0-9]"))
    return classes >= 2 and bool(re.search(r"[A-Za-z]", value)) and _entropy(value) >= 2.75


def _entropy(value: str) -> float:
    """Shannon entropy in bits per character."""
    total = len(value)
    return -sum(count / total * math.log2(count / total) for count in Counter(value).values())
