"""What must not get in: other sites, other hosts, wrong tokens, oversize, compressed and slow requests."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.api.guard import safe_next
from service.store import tokens
from service.store.engine import migrate, open_engine, store_url
from tests.support.page import press, review_values
from tests.support.reviews import PATCH, put_review
from tests.support.server import Served, serving

LIMIT = 200_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("guarded")


@pytest.fixture(scope="module")
def trap() -> Iterator[socket.socket]:
    """A socket to which nobody should connect."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.5)
        yield listener


@pytest.fixture(scope="module")
def local(folder: Path, trap: socket.socket) -> Iterator[Served]:
    """A server on loopback with the page, tight limits, and nobody asked for a token. Its proxy is the trap,
    so that it also meets what is meant for other machines."""
    env = {"TERAZI_REQUEST_LIMIT_BYTES": str(LIMIT), "TERAZI_CLIENT_TIMEOUT_S": "1"}
    env |= dict.fromkeys(("http_proxy", "https_proxy"), address(trap))
    with serving(folder / "local.db", env=env) as running:
        yield running


@pytest.fixture(scope="module")
def public(folder: Path) -> Iterator[Served]:
    """A server on all addresses, where every request needs a token."""
    with serving(folder / "public.db", "--no-page", "--host", "0.0.0.0", "--public-hosts", "localhost") as up:
        yield up


@pytest.fixture
def client(local: Served) -> Iterator[httpx.Client]:
    with local.client() as client:
        yield client


def address(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def asked(trap: socket.socket) -> list[bytes]:
    """The first bytes of everyone who has connected to the trap."""
    found = []
    with contextlib.suppress(TimeoutError):
        while True:
            connection, _ = trap.accept()
            with connection:
                found.append(connection.recv(200))
    return found


def made(folder: Path, name: str, lifetime_ms: int | None = None) -> str:
    engine = open_engine(store_url(str(folder / "public.db")))
    migrate(engine)
    text = tokens.create(engine, name, lifetime_ms=lifetime_ms)
    engine.dispose()
    return text


def raw(served: Served, data: bytes, seconds: float = 20) -> bytes:
    """What the server answers to these bytes, up to its closing the connection."""
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=seconds) as connection:
        connection.sendall(data)
        answer = b""
        try:
            while part := connection.recv(65_536):
                answer += part
        except ConnectionError:
            pass
        return answer


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "", "[::2]:1"]
)
def test_a_foreign_host_name_is_refused(client: httpx.Client, host: str) -> None:
    """DNS rebinding: a page of another site can't reach the server under that site's name."""
    for place in ("/v1/reviews", "/en/", "/metrics", "/openapi.json"):
        reply = client.get(place, headers={"Host": host})
        assert reply.status_code == 421
        assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_post_from_another_site_is_refused(client: httpx.Client, headers: dict[str, str]) -> None:
    """Whatever the browser says of its origin, only this server's own pages may post."""
    for place in ("/v1/reviews", "/login", "/en/gradio_api/queue/join", "/en/gradio_api/upload"):
        assert client.post(place, json={"patch": PATCH}, headers=headers).status_code == 403
    own = {"Origin": str(client.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    assert client.post("/v1/reviews", json={"patch": PATCH}, headers=own).status_code == 202


def test_a_form_post_is_not_taken_for_json(client: httpx.Client) -> None:
    """A form of another site can send text/plain without asking; it is refused even without an origin."""
    body = json.dumps({"patch": PATCH})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        reply = client.post("/v1/reviews", content=body, headers={"Content-Type": kind})
        assert reply.status_code == 415
        assert "Content-Type: application/json" in reply.json()["detail"]


def test_replies_forbid_framing_and_foreign_content(client: httpx.Client) -> None:
    """The page's policy names this server alone, and no other page may frame it."""
    reply = client.get("/en/")
    assert "default-src 'self'" in reply.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]
    assert reply.headers["x-frame-options"] == "DENY"
    assert (
        "access-control-allow-origin"
        not in client.get("/v1/reviews", headers={"Origin": "https://evil.example"}).headers
    )


def test_a_public_server_needs_a_valid_token(public: Served, folder: Path) -> None:
    """Missing, wrong, expired and revoked tokens are 401 on every address but health and sign-in."""
    good, old, gone = made(folder, "ci"), made(folder, "old", -1), made(folder, "gone")
    engine = open_engine(store_url(str(folder / "public.db")))
    tokens.revoke(engine, "gone")
    engine.dispose()
    with public.client() as client:
        for token in ("", "x", good + "x", good[:-1], old, gone, "\xff"):
            headers = {"Authorization": b"Bearer " + token.encode("latin-1")} if token else {}
            for place in ("/v1/reviews", "/metrics", "/openapi.json", "/v1/severities", "/"):
                reply = client.get(place, headers=headers)  # type: ignore[arg-type]
                assert reply.status_code == 401, (token, place)
                assert reply.headers["www-authenticate"] == "Bearer"
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 200
        reply = client.post("/v1/reviews", json={"patch": PATCH}, headers={"Authorization": f"Bearer {good}"})
        assert reply.status_code == 202
        assert reply.json()["author"] == "ci"


def test_signing_in_sets_a_cookie_that_opens_and_can_be_revoked(public: Served, folder: Path) -> None:
    """A browser is led to the form, a wrong token stays there, the cookie is out of scripts' reach."""
    text = made(folder, "ada")
    with public.client() as client:
        led = client.get("/v1/reviews", headers={"Accept": "text/html"})
        assert led.status_code == 303
        assert led.headers["location"] == "/login?next=/v1/reviews"
        assert client.post("/login", data={"token": "wrong", "next": "/"}).status_code == 401
        reply = client.post("/login", data={"token": text, "next": "//evil.example/"})
        assert reply.headers["location"] == "/"
        cookie = reply.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert client.get("/v1/reviews").status_code == 200
        engine = open_engine(store_url(str(folder / "public.db")))
        tokens.revoke(engine, "ada")
        engine.dispose()
        assert client.get("/v1/reviews").status_code == 401


@pytest.mark.parametrize(
    ("target", "goes_to"),
    [
        ("/en/?review=1", "/en/?review=1"),
        ("//evil.example", "/"),
        ("https://evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/\\[", "/"),
        ("\\\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\r\nSet-Cookie: x=y", "/"),
        ("/" + "a" * 500, "/"),
        ("", "/"),
    ],
)
def test_signing_in_goes_on_to_this_server_only(target: str, goes_to: str) -> None:
    """An address that leads elsewhere becomes the start page."""
    assert safe_next(target) == goes_to


def test_a_browser_that_signs_in_wrongly_gets_the_form(public: Served, folder: Path) -> None:
    """Whatever a person or a link sends is answered with the page; a place that is too long is forgotten."""
    long = "/en/?x=" + "a" * 5_000
    with public.client(headers={"Accept": "text/html"}) as client:
        led = client.get(long)
        assert (led.status_code, led.headers["location"]) == (303, "/login?next=/")
        form = client.get("/login", params={"next": long})
        assert (form.status_code, form.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert 'name="next" value="/"' in form.text
        for sent in ({"token": "x" * 5_000}, {"token": "wrong", "next": long}, {"next": "/"}):
            wrong = client.post("/login", data=sent)
            assert (wrong.status_code, wrong.headers["content-type"]) == (401, "text/html; charset=utf-8")
        signed = client.post("/login", data={"token": made(folder, "long"), "next": long})
        assert (signed.status_code, signed.headers["location"]) == (303, "/")


def test_a_body_beyond_the_limit_is_413(client: httpx.Client) -> None:
    """By its stated length, and by counting when no length is stated."""
    big = json.dumps({"patch": PATCH + " " * LIMIT}).encode()
    assert client.post("/v1/reviews", content=big).status_code == 413

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(big), 16_384):
            yield big[start : start + 16_384]

    reply = client.post("/v1/reviews", content=chunks(), headers={"Content-Type": "application/json"})
    assert reply.status_code == 413
    assert reply.headers["content-type"] == "application/problem+json"
    upload = client.post("/en/gradio_api/upload", files={"files": ("a.patch", b"x" * (LIMIT + 1))})
    assert upload.status_code == 413


def test_compressed_bodies_are_not_unpacked(client: httpx.Client) -> None:
    """A zip bomb stays packed: gzip, deflate and friends are refused by their header."""
    bomb = gzip.compress(b"0" * 50_000_000)
    for encoding in ("gzip", "deflate", "br", "gzip, gzip"):
        headers = {"Content-Encoding": encoding, "Content-Type": "application/json"}
        assert client.post("/v1/reviews", content=bomb[:1000], headers=headers).status_code == 415


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /v1/re",
        b"POST /v1/reviews HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 100\r\n\r\n{",
    ],
    ids=["silent", "half a head", "half a second head", "half a body"],
)
def test_a_client_that_stalls_is_cut_off(local: Served, start: bytes) -> None:
    """The server closes the connection by itself, so that stalled clients can't use it up."""
    answer = raw(local, start)
    if b"POST" in start:
        assert b" 408 " in answer.split(b"\r\n", 1)[0]
    with local.client() as client:
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "place",
    [
        "/v1/reviews/..%2f..%2fetc%2fpasswd",
        "/v1/reviews/%2e%2e/%2e%2e/etc/passwd",
        "/en/gradio_api/file=/etc/passwd",
        "/en/gradio_api/file=../../../../etc/passwd",
        "/en/assets/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/en/static/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/en/svelte/..%2f..%2f..%2fetc%2fpasswd",
        "/en/gradio_api/file=pyproject.toml",
        "//etc/passwd",
    ],
)
def test_no_address_leads_to_a_file_of_the_machine(local: Served, place: str) -> None:
    """Path traversal by the API, by the page's assets and by its file address is refused."""
    request = f"GET {place} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = raw(local, request.encode())
    status = int(answer.split(b" ", 2)[1])
    assert 300 <= status < 500
    assert b"root:" not in answer
    assert b"[project]" not in answer


def test_no_request_makes_the_server_fetch(local: Served, trap: socket.socket) -> None:
    """SSRF: a repository is a configured name, never a URL or a path, and the page's proxies are shut."""
    here, away = address(trap), "http://hf.co"
    with local.client() as client:
        for name in (f"{here}/x.git", "/etc", "../..", "file:///etc", "shop"):
            reply = client.post("/v1/reviews", json={"repository": name, "range": "a..b"})
            assert reply.status_code == 422
        for kind in ("proxy=", "file=", "file/"):
            for target in (here, away, "http://localhost"):
                assert 400 <= client.get(f"/en/gradio_api/{kind}{target}/x").status_code < 500
        token = {"x-hf-token": "hf_x", "Authorization": "Bearer hf_x"}
        assert client.get("/en/gradio_api/run-history/buckets", headers=token).status_code == 404
        assert asked(trap) == []


@pytest.mark.parametrize(
    "named",
    [None, "{here}/x.diff", "http://localhost/x.diff", "http://[::ffff:127.0.0.1]/x", "http://hf.co/x"],
)
@pytest.mark.parametrize("field", ["patch", "upload"])
def test_the_page_reads_only_what_was_uploaded(
    local: Served, trap: socket.socket, tmp_path: Path, field: str, named: str | None
) -> None:
    """A hand-made call of the page's button can't name a file of the machine, nor an address to fetch: not
    even the address's name is looked up elsewhere."""
    kept = tmp_path / "kept.diff"
    kept.write_text(PATCH)
    path = named.format(here=address(trap)) if named else str(kept)
    with local.client() as client:
        before = client.get("/v1/reviews").json()
        upload = {"path": path, "meta": {"_type": "gradio.FileData"}}
        came_through, _ = press(client, review_values(**{field: upload}))
        assert not came_through
        assert client.get("/v1/reviews").json() == before
        assert asked(trap) == []
    assert kept.exists()


def test_too_many_waiting_reviews_are_429_with_a_time_to_wait(folder: Path) -> None:
    """The queue is bounded: while one long review runs and one waits, the third is told to come again."""
    env = {"TERAZI_QUEUE_LIMIT": "1", "TERAZI_WORKERS": "1"}
    lines = "".join(f"+value_{number} = {number}\n" for number in range(60_000))
    long = f"--- a/a.py\n+++ b/a.py\n@@ -0,0 +1,60000 @@\n{lines}"
    with serving(folder / "queue.db", "--no-page", env=env) as served, served.client() as client:
        replies = [client.post("/v1/reviews", json={"patch": long})]
        until = time.monotonic() + 30
        while time.monotonic() < until and replies[-1].status_code == 202:
            replies.append(client.post("/v1/reviews", json={"patch": PATCH}))
        assert replies[-1].status_code == 429
        assert int(replies[-1].headers["retry-after"]) >= 1
        assert replies[-1].headers["content-type"] == "application/problem+json"


def test_the_log_holds_no_code_and_no_token(public: Served, folder: Path) -> None:
    """Patches, titles, search texts and tokens appear nowhere on standard error; requests do, as JSON."""
    text = made(folder, "logged")
    marker = "SENTINEL_9f2c"
    with public.client(headers={"Authorization": f"Bearer {text}"}) as client:
        patch = PATCH.replace("notify", marker)
        client.post("/v1/reviews", json={"patch": patch, "title": marker})
        client.post("/v1/reviews", json={"patch": marker})
        client.post("/v1/reviews", json={marker: marker})
        client.get("/v1/reviews", params={"q": marker, "cursor": marker})
        client.get("/v1/reviews", headers={"Authorization": f"Bearer {text}{marker}"})
    until = time.monotonic() + 20
    while "/v1/reviews" not in public.log() and time.monotonic() < until:
        time.sleep(0.05)
    log = public.log()
    assert marker not in log
    assert text not in log
    assert all(isinstance(json.loads(line), dict) for line in log.splitlines())
    assert any(json.loads(line).get("actor") == "logged" for line in log.splitlines())


def test_a_review_of_the_page_is_not_readable_without_a_token(public: Served, folder: Path) -> None:
    """Knowing a review's id is not enough on a public server."""
    review_id = put_review(folder / "public.db")
    with public.client() as client:
        for place in ("", "/report", "/events"):
            assert client.get(f"/v1/reviews/{review_id}{place}").status_code == 401


@pytest.mark.parametrize("end", ["revoked", "expired"])
def test_a_name_gets_a_new_token_when_its_old_one_has_ended(
    public: Served, folder: Path, capsys: pytest.CaptureFixture[str], end: str
) -> None:
    """`create` takes the name again and opens the door with the new text alone."""
    from ui.cli.main import main

    store = ["--store", str(folder / "public.db")]
    old = made(folder, end, lifetime_ms=None if end == "revoked" else -1)
    if end == "revoked":
        assert main(["token", "create", end, *store]) == 2
        assert f"`terazi token revoke {end}` ends it" in capsys.readouterr().err
        assert main(["token", "revoke", end, *store]) == 0
    capsys.readouterr()
    assert main(["token", "create", end, *store]) == 0
    new = capsys.readouterr().out.strip()
    with public.client() as client:
        for text, status in ((old, 401), (new, 200)):
            headers = {"Authorization": f"Bearer {text}"}
            assert client.get("/v1/reviews", headers=headers).status_code == status


def test_tokens_are_managed_on_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`create` prints the token once, `list` names it and its state, `revoke` ends it; mistakes are 2."""
    from ui.cli.main import main

    store = ["--store", str(folder / "cli.db")]
    assert main(["token", "create", "grace", "--days", "1", *store]) == 0
    text = capsys.readouterr().out.strip()
    assert text.startswith(tokens.PREFIX)
    assert main(["token", "revoke", "grace", *store]) == 0
    assert main(["token", "create", "alan", "--days", "0", *store]) == 0
    capsys.readouterr()
    assert main(["token", "list", *store]) == 0
    listed = capsys.readouterr().out
    assert text not in listed
    assert [line.split("\t")[:2] for line in listed.splitlines()] == [["alan", "valid"], ["grace", "revoked"]]
    assert main(["token", "revoke", "nobody", *store]) == 2
    assert main(["token", "create", "alan", *store]) == 2
    assert main(["token", "create", "late", "--days", "99999999", *store]) == 2
    assert main(["token", "list", *store]) == 0
