"""What `/explain` takes for a request head."""

from __future__ import annotations

import json

import pytest

from proxy.admin import Admin
from proxy.codec.events import RequestHead
from proxy.config import PortSettings, PreviewSettings, SidecarSettings
from proxy.modes import RouterMode, SidecarMode
from proxy.net.http_server import Answer
from proxy.routertables import RouterTables
from proxy.routing.decision import Policy
from proxy.routing.key import KeyReader, KeySettings
from proxy.routing.table import RoutingTable, Service
from proxy.tables import TableHolder
from proxy.telemetry.exposition import Exposition
from proxy.telemetry.metrics import Metrics
from tests.support.exchange import BASELINE, PORT, SANDBOX, WORKLOAD, route_table


@pytest.fixture(scope="module")
def admin() -> Admin:
    keys = KeySettings()
    tables = TableHolder(WORKLOAD, "test")
    mode = SidecarMode(SidecarSettings(WORKLOAD, (PortSettings(BASELINE, PORT),)), Policy(), tables, None)
    tables.swap(route_table(SANDBOX))
    return Admin(
        tables=tables,
        exposition=Exposition(Metrics(), tables.metrics_state),
        reader=KeyReader(keys),
        arrival=mode.arrival,
        by_host=mode.by_host,
        why_not_ready=lambda: None,
        start_drain=lambda: None,
    )


@pytest.fixture(scope="module")
def router() -> Admin:
    tables = RouterTables(Policy(), "test")
    previews = PreviewSettings(True, None, (), None, "", 60, "https")
    mode = RouterMode(tables, previews, KeySettings())
    tables.swap(
        RoutingTable(
            "1",
            route_table(SANDBOX).routes,
            services=[
                Service(("location", "::1"), PORT, WORKLOAD, BASELINE),
                Service(("closed",), PORT, WORKLOAD, BASELINE, ("cluster.local/ns/hotrod/*",)),
            ],
        )
    )
    return Admin(
        tables=tables,
        arrival=mode.arrival,
        by_host=mode.by_host,
        exposition=Exposition(Metrics(), tables.metrics_state),
        reader=KeyReader(KeySettings()),
        why_not_ready=lambda: None,
        start_drain=lambda: None,
    )


def explain(admin: Admin, body: bytes, query: bytes = b"") -> Answer:
    return admin.answer(RequestHead(b"POST", b"/explain" + query, [b""], False), body)


HEADS = {
    "a request line": b"GET / HTTP/1.1\r\nHost: a\r\nbaggage: sd-routing-key=key\r\n\r\n",
    "a target with a colon": b"GET http://a/ HTTP/1.1\r\nbaggage: sd-routing-key=key\r\n",
    "fields alone": b"baggage: sd-routing-key=key\nHost: a\n",
    "no line end": b"baggage: sd-routing-key=key",
    "an empty line first": b"\r\nGET / HTTP/1.1\r\nbaggage: sd-routing-key=key\r\n\r\n",
    "empty lines, then fields": b"\n\nbaggage: sd-routing-key=key\n",
    "a first field that speaks of HTTP": b"baggage: sd-routing-key=key, a= HTTP/1.1\r\nHost: a\r\n",
    "a body behind": b"tracestate: sd-routing-key=key\n\nno field",
}


@pytest.mark.parametrize("name", HEADS)
def test_a_head_is_explained(admin: Admin, name: str) -> None:
    answer = explain(admin, HEADS[name])
    assert answer.status == 200
    assert json.loads(answer.body)["key"] == "key"


@pytest.mark.parametrize("body", [b"GET / HTTP/1.1\nno field\n", b"a: b\nno field\n"])
def test_a_line_without_a_colon_is_told(admin: Admin, body: bytes) -> None:
    answer = explain(admin, body)
    assert (answer.status, answer.body[:5]) == (400, b"line ")


ME = str(WORKLOAD)
ROUTED = b"baggage: sd-routing-key=key\r\n"
CALLED = b"Host: closed\r\nX-Forwarded-Client-Cert: By=a;URI=spiffe://cluster.local/ns/%b/sa/web\r\n"


@pytest.mark.parametrize(
    ("head", "host", "workload", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: LOCATION.:8081\r\n" + ROUTED, "LOCATION.:8081", ME, "route"),
        (b":method: GET\n:authority: location\n:path: /\n" + ROUTED, "location", ME, "route"),
        (b"Host: [0::1]\r\n", "[0::1]", ME, "no_key"),
        (b"Host: elsewhere\r\n" + ROUTED, "elsewhere", "", "unknown_host"),
        (b"GET / HTTP/1.0\r\n" + ROUTED, "", "", "unknown_host"),
        (ROUTED + b"\r\nHost: location\r\n", "", "", "unknown_host"),
        (b"Host: closed\r\n" + ROUTED, "closed", ME, "caller_not_allowed"),
        (CALLED % b"hotrod" + ROUTED, "closed", ME, "route"),
        (CALLED % b"other" + ROUTED, "closed", ME, "caller_not_allowed"),
        (
            b"Host: location\r\npointsman-hop: %b;baseline\r\n" % ME.encode(),
            "location",
            ME,
            "loop",
        ),
    ],
)
def test_a_router_explains_by_host(router: Admin, head: bytes, host: str, workload: str, reason: str) -> None:
    answer = explain(router, head)
    assert answer.status == 200
    found = json.loads(answer.body)
    assert (found["host"], found["workload"], found["reason"]) == (host, workload, reason)
    text = explain(router, head, b"?format=text").body.decode()
    assert reason in text
    assert all(line.isascii() and line.isprintable() for line in text.splitlines())


def test_a_router_takes_no_port(router: Admin) -> None:
    answer = explain(router, b"Host: location\r\n", b"?port=8081")
    assert (answer.status, answer.body) == (400, b"port: a router tells it from the head's Host\n")


def test_the_table_of_a_router_has_its_services(router: Admin, admin: Admin) -> None:
    def table(of: Admin) -> dict[str, object]:
        pieces = of.answer(RequestHead(b"GET", b"/table", [b""], False), b"").pieces
        assert pieces is not None
        found = json.loads(b"".join(pieces))
        assert isinstance(found, dict)
        return found

    assert table(router)["services"] == [service.document() for service in router.tables.services()]
    assert "services" not in table(admin)
