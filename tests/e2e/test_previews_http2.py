"""Previews by HTTP/2: the same, stream by stream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.support.http2 import Setting, block, data, head, headers
from tests.support.http2_origin import Http2Origin
from tests.support.http2_peer import WIDE, Peer, Stream, connected
from tests.support.origin import Origin, running
from tests.support.previews import BEARER, DOMAIN, HOST, LOGIN, TOKEN, document
from tests.support.proxy import KEY, Proxy, run_router
from tests.support.websocket import EchoOrigin

AUTHORIZATION = ("authorization", BEARER.partition(": ")[2])
FORM = ("content-type", "application/x-www-form-urlencoded")


@pytest.fixture
def second() -> Iterator[Http2Origin]:
    origin = Http2Origin("sandbox")
    with running(origin):
        yield origin


@pytest.fixture
def router(tmp_path: Path, baseline: Origin, second: Http2Origin) -> Iterator[Proxy]:
    tokens = tmp_path / "tokens"
    tokens.write_text(TOKEN)
    with run_router(
        tmp_path, document(baseline.port, second.port), flags=("--preview-token-file", str(tokens))
    ) as router:
        yield router


@pytest.fixture
def client(router: Proxy) -> Iterator[Peer]:
    with connected(router.port, first=False) as peer:
        peer.acks_settings = False
        peer.sync()
        yield peer


def ask(client: Peer, stream: int, *fields: tuple[str, str], path: str = "/", host: str = HOST) -> Stream:
    client.send(headers(stream, head(path, *fields, authority=host), end=True))
    return client.over(stream)


def test_each_stream_by_itself(client: Peer) -> None:
    for stream, fields, status in ((1, (), 401), (3, (AUTHORIZATION,), 200), (5, (), 401)):
        assert ask(client, stream, *fields).status == status
    assert client.stream(3).origin == "sandbox"
    assert client.stream(5).value("www-authenticate").startswith("Bearer")


def test_both_names_of_a_host_must_agree(client: Peer) -> None:
    """Else one could be let in for one host and served another."""
    block_of = head("/", ("host", f"web--live.{DOMAIN}"), AUTHORIZATION, authority=HOST)
    client.send(headers(1, block_of, end=True))
    client.until(lambda: client.stream(1).is_over, "the reset")
    assert client.stream(1).status != 200


def test_the_form_opens_the_host_and_the_cookie_goes_no_further(client: Peer, second: Http2Origin) -> None:
    assert b"<form" in ask(client, 1, ("accept", "text/html"), path="/a").body
    form = urlencode({"token": TOKEN, "to": "/a"}).encode()
    client.send(headers(3, head(LOGIN, FORM, ("origin", f"http://{HOST}"), method="POST", authority=HOST)))
    client.send(data(3, form[:5]), data(3, form[5:], end=True))
    answer = client.over(3)
    assert (answer.status, answer.value("location")) == (303, "/a")
    cookie = answer.value("set-cookie").partition(";")[0]
    crumbs = (("cookie", "theme=dark"), ("cookie", cookie), ("cookie", "lang=en"))
    assert ask(client, 5, *crumbs, ("x-user", "me")).origin == "sandbox"
    request = second.requests[-1]
    assert request.values(b"cookie") == [b"theme=dark", b"lang=en"]
    assert request.values(b"baggage") == [f"sd-routing-key={KEY}".encode()]
    assert request.values(b"x-forwarded-host") == [HOST.encode()]
    assert request.values(b":authority") == [b"location.hotrod.svc"]
    assert request.values(b"host") == []
    assert ask(client, 7, *crumbs, host=f"api-v2--{KEY}.{DOMAIN}").status == 401


@pytest.mark.parametrize(
    ("fields", "status"),
    [((), 401), ((AUTHORIZATION,), 200), ((AUTHORIZATION, ("origin", "https://evil.test")), 200)],
)
def test_a_websocket_by_extended_connect(
    tmp_path: Path, baseline: Origin, fields: tuple[tuple[str, str], ...], status: int
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(TOKEN)
    echo = EchoOrigin("sandbox")
    flags = ("--preview-token-file", str(tokens))
    table = document(baseline.port, echo.port)
    table["routes"][0]["mappings"][0]["appProtocol"] = "http"  # type: ignore[index]
    announced = {**WIDE, Setting.ENABLE_CONNECT_PROTOCOL: 1}
    with (
        running(echo),
        run_router(tmp_path, table, flags=flags) as router,
        connected(router.port, announced, first=False) as client,
    ):
        client.acks_settings = False
        client.sync()
        pseudo = ((":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/ws"))
        client.send(headers(1, block(*pseudo, (":authority", HOST), ("sec-websocket-version", "13"), *fields)))
        assert client.headed(1).status == status
    assert len(echo.requests) == (status == 200)
