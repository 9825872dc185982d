"""Secrets: which texts are, which are not, and that a masked text holds none."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from review_data.secrets import find_secrets, mask
from service.backends.embedded.secrets import exposed_secrets
from tests.support.changes import change_of, file_of

# Put together at run time, so that no scanner takes the tests for a leak.
_LONG = "aB3dE5fG7hJ9kL1mN2pQ4rS6tU8vW0xY"
_HEX = "0123456789abcdef" * 4
_TOKENS = {
    "AWS": "AKIA" + "Q7RZ2M4N6P8T1V3X",
    "GitHub": "ghp_" + _LONG + "zZ9y",
    "GitHub fine-grained": "github_pat_" + _LONG,
    "GitLab": "glpat-" + _LONG[:20],
    "Slack": "xoxb-" + "2048101-" + _LONG,
    "Stripe": "sk_live_" + _LONG,
    "Google": "AIza" + "SyD4f6G8h0J2k4L6m8N0p2Q4r6S8t0U2v4W"[:35],
    "npm": "npm_" + _LONG + "abcd",
    "PyPI": "pypi-" + "AgEIcHlwaS5vcmcC" + _LONG,
    "SendGrid": "SG." + _LONG[:22] + "." + _LONG + "abc",
    "Twilio": "SK" + _HEX[:32],
    "JWT": "eyJ" + "hbGciOiJIUzI1NiJ9." + "eyJ" + "zdWIiOiIxMjM0In0." + _LONG,
    "Azure": "AccountKey=" + _LONG + _LONG + "==",
    "Hugging Face": "hf_" + _LONG + "ab",
    "DigitalOcean": "dop_v1_" + _HEX,
    "URL": "postgresql://shop:" + "w8Kd-2mQz" + "@db.example/shop",
    "private key": "-----BEGIN RSA PRIVATE KEY-----\n" + _LONG * 4 + "\n-----END RSA PRIVATE KEY-----",
}
_ASSIGNED = (
    'password = "w8Kd-2mQz!vT"',
    "EMAIL_HOST_PASSWORD = env('EMAIL_PASSWORD', default='pb-live-9vKx2TqLr84mWc0Zs')",
    'master_password = "t7KQ-vanes-Hollow-42-brine"',
    "DB_PASSWORD=w8Kd2mQzvT91",
    '  apiKey: "9f8e7d6c5b4a39281706"',
    'const clientSecret = "Zx8!kLm29-QwErT";',
    '"secret_key" => "b7Gh2kLp9QwXz4Vn"',
)
_HARMLESS = (
    'password = "changeme"',
    'password = os.environ["DB_PASSWORD"]',
    'password = "${DB_PASSWORD}"',
    'PASSWORD_FIELD = "user-password-1"',
    'token = "reset_password_token"',
    'secret_name = "prod/db/password2"',
    'const tokenUrl = "https://login.example/oauth2/token"',
    'password = "your-password-1"',
    "password: <%= ENV['DB_PASSWORD'] %>",
    'api_key = "xxxxxxxxxxxx1"',
    'secret = "********"',
    "token = jwt.encode(payload, key)",
    "max_tokens = 4096",
    'password = getpass("Password: ")',
    'key = "user:profile:v2"',
    "password: {{ .Values.password }}",
)


@pytest.mark.parametrize("kind", _TOKENS)
def test_provider_formats(kind: str) -> None:
    """Each provider's format is found and masked, its public prefix kept."""
    text = f"value = '{_TOKENS[kind]}' # end"
    assert find_secrets(text), kind
    masked = mask(text)
    assert "****" in masked
    assert masked.startswith("value = '")
    assert masked.endswith("# end")


@pytest.mark.parametrize("text", _ASSIGNED)
def test_assigned_secrets(text: str) -> None:
    """A literal that looks random, given to a name that speaks of a secret, is one; the name stays."""
    [secret] = find_secrets(text)
    assert secret.name in mask(text)
    assert text[secret.start : secret.end] not in mask(text)


@pytest.mark.parametrize("text", _HARMLESS)
def test_harmless(text: str) -> None:
    """Placeholders, look-ups, names of things and templates are no secrets and stay as they are."""
    assert find_secrets(text) == ()
    assert mask(text) == text


@given(st.sampled_from(sorted(_TOKENS)), st.text(max_size=60), st.text(max_size=60))
def test_no_secret_survives(kind: str, before: str, after: str) -> None:
    """Whatever stands around it, only a token's public prefix is left, and masking again adds nothing."""
    token = _TOKENS[kind]
    masked = mask(f"{before} {token} {after}")
    [secret] = find_secrets(token)
    assert token not in masked
    assert token[secret.start + secret.keep : secret.end] not in masked
    assert mask(masked) == masked


@given(st.text(alphabet=string.ascii_letters + string.digits + " \n=:'\"/.-_(){}", max_size=300))
def test_masking_is_idempotent(text: str) -> None:
    """Masking a masked text changes nothing."""
    assert mask(mask(text)) == mask(text)


def test_finder_masks_every_field() -> None:
    """The finding names the place and the variable, and no field holds the value."""
    value = "w8Kd-2mQz!vT"
    [issue] = exposed_secrets(*_with(f'+db_password = "{value}"', "settings.py"))
    assert "db_password" in issue.title
    assert value not in issue.model_dump_json()
    assert "****" in issue.quote


def test_only_added_and_new_secrets_count() -> None:
    """A secret on a context line, or one that merely moves, is not the change's."""
    line = 'db_password = "w8Kd-2mQz!vT"'
    assert list(exposed_secrets(*_with(f" {line}\n+x = 1", "settings.py"))) == []
    assert list(exposed_secrets(*_with(f"-{line}\n x = 1\n+{line}", "settings.py"))) == []


def test_in_tests_only_real_tokens_count() -> None:
    """A made-up password of a test is no leak, a provider's token is one everywhere."""
    assert list(exposed_secrets(*_with('+password = "w8Kd-2mQz!vT"', "tests/test_a.py"))) == []
    assert len(list(exposed_secrets(*_with(f'+t = "{_TOKENS["GitHub"]}"', "tests/test_a.py")))) == 1


def _with(text: str, path: str):  # type: ignore[no-untyped-def]
    file = file_of(path, text)
    return change_of(file), file
