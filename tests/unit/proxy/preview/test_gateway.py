"""The gateway before an exchange: what goes on, what is answered, and what a tunnel is asked later."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from proxy.codec.events import RequestHead
from proxy.identity import Identities
from proxy.places import PREVIEWS
from proxy.preview.credentials import Credentials, Tokens
from proxy.preview.gateway import Gateway
from proxy.preview.login import PATH
from proxy.routertables import RouterTables
from proxy.routing.decision import Policy
from proxy.routing.gone import NOTHING_GONE
from proxy.routing.key import KeySettings
from proxy.routing.names import Endpoint
from proxy.routing.table import Mapping, Preview, Route, RoutingTable, Service
from proxy.routing.view import WorkloadView
from tests.support.exchange import BASELINE, PORT, SANDBOX, WORKLOAD, Script, request_head, response_head
from tests.support.h2script import http2_head

HOST = "web--k.preview.example"
ELSEWHERE = Endpoint("elsewhere", 7)
TOKEN = "a-token-of-the-team"
BEARER = f"authorization: Bearer {TOKEN}"
ENTRIES = (Preview("preview.example", "web", Endpoint("location", 80)), Preview("preview.example", "out", ELSEWHERE))


def table(
    *, key: str = "k", callers: tuple[str, ...] | None = None, previews: tuple[Preview, ...] = ENTRIES
) -> RoutingTable:
    return RoutingTable(
        "1",
        [Route(key, "pr", WORKLOAD, (Mapping(PORT, None, "preserve", (SANDBOX,)),))],
        services=[Service(("location",), PORT, WORKLOAD, BASELINE, callers)],
        previews=previews,
    )


class Router:
    """A router's part of an exchange."""

    def __init__(self, *, is_required: bool = True, networks: tuple[str, ...] = ()) -> None:
        self.tables = RouterTables(Policy(), "test")
        self.tables.swap(table())
        self.credentials = Credentials(
            is_required=is_required,
            header=b"x-user",
            networks=[ip_network("192.0.2.9")],
            tokens=Tokens([TOKEN.encode()]),
            is_secure=False,
            lifetime_s=60,
            clock=lambda: 0.0,
        )
        gateway = Gateway(self.tables.places, self.credentials, KeySettings(), "http")
        self._port = replace(
            Script().port,
            places=self.tables.places,
            gateway=gateway,
            identities=Identities([ip_network(each) for each in networks]),
        )

    def start(self, *lines: str, host: str = HOST, target: bytes = b"/", **more: str) -> list[str]:
        head = request_head(*lines, host=host, **more)
        head.target = target
        return self.start_head(head)

    def start_head(self, head: RequestHead) -> list[str]:
        """The calls of a new exchange, which is the script's."""
        self.script = Script()
        self.script.port = replace(self._port, pool=self.script.pool)
        return self.script.start(head)


def test_a_request_goes_on_as_one_for_the_upstream() -> None:
    router = Router()
    assert router.start(BEARER) == ["connect box:1"]
    assert router.start("x-user: me", host="out--k.preview.example") == ["connect elsewhere:7"]


def test_a_tunnel_stays_as_long_as_its_preview_leads_there() -> None:
    for host, later, is_routed in (
        (HOST, table(), True),
        (HOST, table(key="other"), False),
        (HOST, table(previews=ENTRIES[1:]), False),
        ("out--k.preview.example", table(), True),
        ("out--k.preview.example", table(key="other"), False),
        ("out--k.preview.example", table(previews=ENTRIES[:1]), False),
    ):
        router = Router()
        router.start(BEARER, "connection: upgrade", "upgrade: websocket", host=host)
        router.script.connected()
        router.script.response_head(101)
        router.tables.swap(later)
        assert router.script.exchange.is_routed is is_routed, (host, later.document())


def test_the_feed_tells_it_which_keys_live() -> None:
    """It changes the sets of views in place; what left is remembered."""
    router = Router()
    live = {b"k"}
    view = WorkloadView("2", {}, live, frozenset(), frozenset())
    views = {WORKLOAD: view, PREVIEWS: view}
    all_of = table()
    router.tables.put(
        all_of, NOTHING_GONE, set(), set(), views=views, services=all_of.services, previews=all_of.previews
    )
    assert router.start(BEARER) == ["connect base:1"]
    live.clear()
    assert router.start(BEARER)[0] == "down.head 424"
    assert router.script.exchange.reason.name == "unknown_key"
    gone = WorkloadView("3", {}, live, frozenset((b"k",)), frozenset())
    router.tables.put(all_of, NOTHING_GONE, set(), set(), views={PREVIEWS: gone})
    router.start(BEARER)
    assert router.script.exchange.reason.name == "gone_key"


@pytest.mark.parametrize(
    ("identity", "networks", "status"),
    [
        ("spiffe://cluster.local/ns/hotrod/sa/gateway", ("192.0.2.0/24",), 0),
        ("spiffe://cluster.local/ns/hotrod/sa/other", ("192.0.2.0/24",), 403),
        ("spiffe://cluster.local/ns/hotrod/sa/gateway", (), 403),
    ],
)
def test_a_service_that_lists_its_callers(identity: str, networks: tuple[str, ...], status: int) -> None:
    router = Router(networks=networks)
    router.tables.swap(table(callers=("cluster.local/ns/hotrod/sa/gateway",)))
    calls = router.start(BEARER, f"x-forwarded-client-cert: URI={identity}")
    assert calls[0] == (f"down.head {status}" if status else "connect box:1")
    if not status:
        router.script.connected()
        assert b"x-forwarded-client-cert" not in b"\r\n".join(router.script.exchange.head.lines).lower()


def test_cookies_of_answers_stay_home_and_nothing_else_is_changed() -> None:
    router = Router()
    router.start(BEARER)
    router.script.connected()
    head = response_head(200, 0)
    head.lines += [b"Set-Cookie: a=b; Domain=example", b"X-Domain:  a; domain=b"]
    router.script.exchange.response_head(head)
    assert head.lines[-3:-1] == [b"Set-Cookie: a=b", b"X-Domain:  a; domain=b"]


def test_a_service_opens_no_preview() -> None:
    """Its hosts are asked for nothing, so none of them may be one that is."""
    router = Router()
    hosts = ("location", "Web--K.preview.example.", "other.preview.example", "a.b.preview.example")
    services = [Service(hosts, PORT, WORKLOAD, BASELINE), Service(hosts[1:3], PORT, WORKLOAD, Endpoint("base", 2))]
    router.tables.swap(RoutingTable("2", table().routes, services=services, previews=ENTRIES))
    assert router.start(host=HOST)[0] == "down.head 401"
    assert router.start(host=f"{HOST}:1")[0] == "down.head 401"
    assert router.start(host=f"{HOST}:2")[0] == "down.head 401"
    assert router.start(host="other.preview.example")[0] == "down.head 421"
    assert router.start(host="a.b.preview.example") == ["connect base:1"]


def test_a_preview_leads_to_no_preview() -> None:
    router = Router(is_required=False)
    loop = Preview("preview.example", "loop", Endpoint("web--k.preview.example", 80))
    router.tables.swap(table(previews=(*ENTRIES, loop)))
    assert router.start(host="loop--k.preview.example")[0] == "down.head 421"


class TestLogin:
    def test_a_form_that_comes_in_pieces(self) -> None:
        router = Router()
        lines = ("content-type: application/x-www-form-urlencoded", "content-length: 30")
        assert router.start(*lines, method="POST", target=PATH) == []
        body = f"token={TOKEN}&to=".encode()
        assert router.script.request_body(body[:9]) == []
        assert router.script.request_body(body[9:]) == []
        assert router.script.request_end() == ["down.head 303", "down.end"]

    def test_a_visitor_who_leaves_in_the_middle_of_it(self) -> None:
        router = Router()
        router.start("content-length: 30", method="POST", target=PATH)
        router.script.request_body(b"token=")
        router.script.exchange.downstream_failed()
        assert router.script.exchange.is_over

    def test_too_much(self) -> None:
        router = Router()
        router.start("content-length: 20000", method="POST", target=PATH)
        router.script.request_body(b"x" * 16000)
        assert router.script.request_body(b"x" * 1000) == ["down.head 413 last", "down.body", "down.end"]
        assert router.script.request_body(b"x" * 3000) == []
        assert router.script.request_end() == []

    def test_it_is_the_applications_path_without_authentication(self) -> None:
        router = Router(is_required=False)
        assert router.start(target=PATH) == ["connect box:1"]


def test_who_asks_by_http2_is_answered_by_it() -> None:
    router = Router()
    head = http2_head()
    head.host = HOST.encode()
    assert router.start_head(head)[0] == "down.head 401"
