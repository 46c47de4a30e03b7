"""Requests to the admin pages, a head and any body behind it: above all heads for `/explain`.

No page fails, whatever it is asked. A head that the codec takes is explained as it would be decided, and it does not
matter whether it comes with its request line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from proxy.admin import Admin
from proxy.codec.events import RequestHead
from proxy.codec.fields import TOKEN
from proxy.codec.h1.reader import HeadLimits
from proxy.config import PortSettings, SidecarSettings
from proxy.errors import ProtocolError
from proxy.modes import SidecarMode
from proxy.net.http_server import Answer
from proxy.places import Place
from proxy.routing.decision import Policy
from proxy.routing.key import KeyReader, KeySettings
from proxy.tables import TableHolder
from proxy.telemetry.exposition import Exposition
from proxy.telemetry.metrics import Metrics
from tests.fuzz.cost import cpu_limit, pumped
from tests.fuzz.request import STREAM, new_reader
from tests.support import codec
from tests.support.exchange import BASELINE, PORT, SANDBOX, WORKLOAD, route_table
from tests.support.keys import PIECES

_HEAD = b"POST /explain HTTP/1.1\r\nHost: localhost\r\n\r\n"
_EXPLAIN = b"/explain"
_STATUSES = {200, 202, 400, 403, 404, 405, 503}
SCRAPS = [
    *codec.SCRAPS,
    *PIECES,
    b"/explain?port=8081&format=text",
    b"/table",
    b"/metrics",
    b"Origin: x\r\n",
    b"x-key: ",
]
SCRAPS += [b"%0a", b"&", b"port=", b"Host: localhost\r\n", b"baggage: sd-routing-key=key\r\n", b" HTTP/1.1", _HEAD]

_KEYS = KeySettings(headers=(b"x-key",))
_READER = KeyReader(_KEYS)
_TABLES = TableHolder(WORKLOAD, "fuzz", lambda: 0.0)
_PORTS = (PortSettings(BASELINE, PORT), PortSettings(BASELINE, 9000))
_MODE = SidecarMode(SidecarSettings(WORKLOAD, _PORTS), Policy(), _TABLES, None)
_TABLES.swap(route_table(SANDBOX))
_ADMIN = Admin(
    tables=_TABLES,
    exposition=Exposition(Metrics(), _TABLES.metrics_state),
    reader=_READER,
    arrival=_MODE.arrival,
    by_host=_MODE.by_host,
    why_not_ready=lambda: None,
    start_drain=lambda: None,
)


def seeds() -> Iterable[bytes]:
    head = (
        b"GET / HTTP/1.1\r\nHost: a\r\nbaggage: sd-routing-key=key,sd-strict=1\r\ntracestate: a=b\r\nX-Key: abc\r\n\r\n"
    )
    yield _HEAD + head
    yield _HEAD + head.partition(b"\r\n")[2].replace(b"\r\n", b"\n")
    yield (
        _HEAD.replace(_EXPLAIN, b"/explain?format=text&port=9000")
        + b"baggage: sd-routing-key=%zz, ,a\npointsman-hop: a"
    )
    for target in (b"/livez", b"/readyz", b"/metrics", b"/table", b"/drain", b"/", b"http://localhost/table", b"*"):
        yield _HEAD.replace(b"POST", b"GET").replace(_EXPLAIN, target)
    accept = b"Accept: application/openmetrics-text;version=1.0.0;q=0.5, */*\r\n\r\n"
    yield b"GET /metrics HTTP/1.1\r\nHost: [::1]:1\r\n" + accept
    yield b"POST /drain HTTP/1.0\r\nSec-Fetch-Site: cross-site\r\nOrigin: http://a\r\n\r\n"


def check(data: bytes) -> None:
    for body in (data, data.partition(b"\r\n\r\n")[2]):
        check_explain(body)
        if (long := pumped(body)) is not None:
            with cpu_limit():
                explained(long)
    STREAM.forget()
    head = head_of(data)
    if head is not None:
        with cpu_limit():
            answer = _ADMIN.answer(head, data.partition(b"\r\n\r\n")[2])
        check_answer(answer)


def check_answer(answer: Answer) -> None:
    assert answer.status in _STATUSES
    body = answer.body if answer.pieces is None else b"".join(answer.pieces)
    if answer.media_type == "application/json":
        assert json.loads(body)
    elif answer.media_type == "text/plain; charset=utf-8":
        assert all(line.isascii() and line.isprintable() for line in body.decode().split("\n"))


def head_of(data: bytes) -> RequestHead | None:
    reader = new_reader(HeadLimits())
    reader.receive(data)
    try:
        event = reader.next_event()
    except ProtocolError:
        return None
    return event if isinstance(event, RequestHead) else None


def explained(body: bytes) -> dict[str, object] | None:
    """The explanation of the head in this body; None where it is refused."""
    head = head_of(_HEAD)
    assert head is not None
    answer = _ADMIN.answer(head, body)
    check_answer(answer)
    if answer.status != 200:
        assert answer.status == 400
        return None
    explanation = json.loads(answer.body)
    assert isinstance(explanation, dict)
    assert all(text.isascii() and text.isprintable() for text in explanation["steps"])
    return explanation


def check_explain(body: bytes) -> None:
    explanation = explained(body)
    head = head_of(body)
    if head is not None:
        reading = _READER.read(head.baggage, head.tracestate, head.key_fields)
        place = _MODE.arrival(head.host, None)
        assert isinstance(place, Place)
        decision = place.decider.decide(reading, place.view, PORT, head.hops)
        assert explanation is not None, "a head that is served is explained"
        assert (explanation["reason"], explanation["status"]) == (decision.reason.name, decision.status)
        assert explanation["key"] == (None if reading.key is None else reading.key.decode())
    first, colon, _ = body.partition(b":")
    if colon and TOKEN.fullmatch(first):
        assert explained(b"GET / HTTP/1.1\r\n" + body) == explanation, "with and without a request line"
