"""What `/explain` takes for a request head."""

from __future__ import annotations

import json

import pytest

from proxy.admin import Admin
from proxy.codec.events import RequestHead
from proxy.config import PortSettings, SidecarSettings
from proxy.modes import SidecarMode
from proxy.net.http_server import Answer
from proxy.routing.decision import Policy
from proxy.routing.key import KeyReader, KeySettings
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


def explain(admin: Admin, body: bytes) -> Answer:
    return admin.answer(RequestHead(b"POST", b"/explain", [b""], False), body)


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
