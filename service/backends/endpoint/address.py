"""Where the server is, what a user should know before code goes there, and which key it gets.

Owns no connection. Keys come from the environment alone: TERAZI_API_KEY for any server, OPENAI_API_KEY only
for OpenAI's own hosts, so that it is never handed to another.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from review_data.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Address:
    """A server's API: `url` has no trailing slash, `root` is where vLLM keeps /tokenize and /metrics."""

    url: str
    scheme: str
    host: str

    @property
    def root(self) -> str:
        """The URL without a last /v1."""
        return self.url.removesuffix("/v1")

    @property
    def is_loopback(self) -> bool:
        """Whether what is sent stays on this machine."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_address(text: str) -> Address:
    """`SettingsError` unless `text` is an http(s) URL without credentials; a bare host gets /v1."""
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise SettingsError(f"endpoint: `{text}` is not a URL ({error}); {_LIKE}") from None
    if parts.username or parts.password:
        raise SettingsError(
            f"endpoint: the URL of {host} holds credentials; take them out and set TERAZI_API_KEY in the "
            "environment"
        )
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise SettingsError(f"endpoint: `{text}` is not the URL of an API; {_LIKE}")
    name = f"[{host}]" if ":" in host else host
    place = f"{name}:{port}" if port else name
    return Address(f"{parts.scheme}://{place}{parts.path.rstrip('/') or '/v1'}", parts.scheme, host)


def notice(address: Address, key: str) -> str | None:
    """What to tell the user before code goes to another machine; None when it stays on this one."""
    if address.is_loopback:
        return None
    text = f"code of this change goes to {address.host} (secrets found in it are masked)"
    if address.scheme == "https":
        return text
    return f"{text}, and unencrypted{' with your API key' if key else ''}; use https"


def api_key(address: Address, env: Mapping[str, str]) -> str:
    """The key for this server, "" for none; `SettingsError`, without the key, when it can't be sent."""
    if key := _key(env, "TERAZI_API_KEY"):
        return key
    is_openai = address.host == "openai.com" or address.host.endswith(".openai.com")
    return _key(env, "OPENAI_API_KEY") if is_openai and address.scheme == "https" else ""


def _key(env: Mapping[str, str], name: str) -> str:
    key = env.get(name, "").strip()
    if key and not (key.isascii() and key.isprintable()):
        raise SettingsError(
            f"{name}: holds a line break or another character that no request can carry; set it to the key "
            "alone"
        )
    return key


_LIKE = "write one like http://127.0.0.1:8000/v1"
