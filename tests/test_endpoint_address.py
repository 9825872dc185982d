"""Where code may go: URLs, the warning before it leaves the machine, keys, Retry-After."""

from __future__ import annotations

import logging

import pytest

from review_data.errors import SettingsError
from service.backends.catalog import open_reviewer
from service.backends.endpoint.address import api_key, notice, parse_address
from service.backends.endpoint.wire import retry_after
from service.settings import Settings, parse_toml, resolve
from ui.cli.main import main


@pytest.mark.parametrize(
    ("text", "url", "loopback"),
    [
        ("http://localhost:8000", "http://localhost:8000/v1", True),
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1", True),
        ("http://127.8.9.1/v1", "http://127.8.9.1/v1", True),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1", True),
        ("https://models.example.org/api/v1", "https://models.example.org/api/v1", False),
        ("http://localhost.example.org/v1", "http://localhost.example.org/v1", False),
        ("http://10.0.0.7:8000/v1", "http://10.0.0.7:8000/v1", False),
    ],
)
def test_addresses_are_read_and_told_apart(text: str, url: str, loopback: bool) -> None:
    """A bare host gets /v1; only this machine's own addresses are loopback."""
    address = parse_address(text)
    assert (address.url, address.is_loopback) == (url, loopback)


@pytest.mark.parametrize(
    "text", ["", "localhost:8000", "ftp://host/v1", "http://", "http://host/v1?key=1", "http://host:port/v1"]
)
def test_what_is_no_api_is_refused(text: str) -> None:
    """The message shows what an address looks like."""
    with pytest.raises(SettingsError, match="write one like http"):
        parse_address(text)


def test_credentials_in_a_url_are_refused_and_not_repeated() -> None:
    """A password in the URL would end up in logs and reviews."""
    with pytest.raises(SettingsError, match="holds credentials") as caught:
        parse_address("https://user:hunter22@host.example/v1")
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize("key", ["sk-hidden\nsk-more", "sk-hidden\x01", "sk-hidden-\u00fc"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    """A line break or a letter outside ASCII came out as a lost connection with the key, or as a bug."""
    monkeypatch.setenv("TERAZI_API_KEY", key)
    assert main(["endpoint", "check", "--endpoint", "http://127.0.0.1:9/v1"]) == 2
    shown = "".join(capsys.readouterr())
    assert "TERAZI_API_KEY: holds a line break or another character" in shown
    assert "hidden" not in shown


def test_the_user_is_warned_before_code_leaves_the_machine(caplog: pytest.LogCaptureFixture) -> None:
    """Opening a reviewer of another host says so at once; loopback is silent."""
    with caplog.at_level(logging.WARNING):
        open_reviewer(Settings(backend="endpoint", endpoint="http://127.0.0.1:9/v1"))
        assert caplog.text == ""
        open_reviewer(Settings(backend="endpoint", endpoint="http://192.0.2.1:9/v1", endpoint_timeout_s=0.1))
    assert "code of this change goes to 192.0.2.1" in caplog.text
    assert "unencrypted" in caplog.text
    assert notice(parse_address("https://host.example"), "") == (
        "code of this change goes to host.example (secrets found in it are masked)"
    )


def test_keys_go_where_they_belong() -> None:
    """OPENAI_API_KEY only to OpenAI over TLS, TERAZI_API_KEY to the endpoint whatever it is."""
    env = {"OPENAI_API_KEY": "open"}
    assert api_key(parse_address("https://api.openai.com/v1"), env) == "open"
    assert api_key(parse_address("http://api.openai.com/v1"), env) == ""
    assert api_key(parse_address("https://openai.com.example.org/v1"), env) == ""
    assert api_key(parse_address("https://host.example"), env | {"TERAZI_API_KEY": " own "}) == "own"


def test_a_repository_cannot_name_the_endpoint() -> None:
    """A change could bring a configuration that sends the code elsewhere; the user alone can."""
    with pytest.raises(SettingsError, match="can't be set by a repository's file"):
        resolve(repository=parse_toml('endpoint = "https://elsewhere.example"', "terazi.toml"), env={})


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, None), ("3", 3), ("-1", 0), ("soon", None), ("Thu, 01 Jan 1970 00:01:40 GMT", 60)],
)
def test_retry_after_is_a_number_or_a_date(value: str | None, seconds: float | None) -> None:
    """RFC 9110: seconds, or a date; anything else asks for nothing."""
    assert retry_after(value, now=40.0) == seconds
