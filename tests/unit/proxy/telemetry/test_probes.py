"""What is noted of a marked request, for how long, and that nothing is noted otherwise."""

from __future__ import annotations

import json

import pytest

from proxy.codec.events import RequestHead
from proxy.telemetry.probes import KEPT_S, MAX_PROBES, MAX_REQUESTS, Probes
from proxy.telemetry.record import Record
from proxy.telemetry.watch import Asked, Watch

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
MARK = "p0123456789abcdef"


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def question(trace: str = TRACE, mark: str = MARK) -> bytes:
    return json.dumps({"trace": trace, "mark": mark}).encode()


def record(*, baggage: bytes = b"", tracestate: bytes = b"", trace: str = "0" * 31 + "1") -> Record:
    lines = [b"GET / HTTP/1.1", b"traceparent: 00-%s-00f067aa0ba902b7-01" % trace.encode()]
    head = RequestHead(b"GET", b"/", lines, False)
    head.baggage = [baggage] if baggage else []
    head.tracestate = [tracestate] if tracestate else []
    return Record(head, b"192.0.2.1", 1.0)


def test_what_is_noted() -> None:
    asked = Asked()
    probes = Probes(asked, None)
    assert asked.watch is None
    assert probes.ask(question()) == {"requests": []}
    assert asked.watch is not None
    for each in (
        record(baggage=b"a=1,pointsman-probe=" + MARK.encode()),
        record(tracestate=b"x=y,pointsman-probe=" + MARK.encode()),
        record(trace=TRACE),
        record(baggage=b"secret=1"),
    ):
        asked.watch.finished(each)
    requests = probes.ask(question())["requests"]
    assert isinstance(requests, list)
    came = [(each["baggage"], each["tracestate"], each["traceparent"]) for each in requests]
    assert came == [(True, False, False), (False, True, False), (False, False, True)]
    assert "secret" not in json.dumps(requests)


def test_nothing_is_noted_a_minute_later() -> None:
    clock, asked = Clock(), Asked()
    probes = Probes(asked, None, clock)
    probes.ask(question())
    watch = asked.watch
    assert watch is not None
    clock.now_s += KEPT_S + 0.1
    watch.finished(record(trace=TRACE))
    assert asked.watch is None
    assert probes.ask(question()) == {"requests": []}


def test_beside_an_access_log() -> None:
    clock, asked, watch = Clock(), Asked(), Watch(None, None)
    probes = Probes(asked, watch, clock)
    probes.ask(question())
    assert asked.watch is None
    watch.finished(record(trace=TRACE))
    assert len(probes.ask(question())["requests"]) == 1  # type: ignore[arg-type]
    clock.now_s += KEPT_S + 0.1
    watch.finished(record(trace=TRACE))
    assert watch.probe is None


def test_bounds() -> None:
    asked = Asked()
    probes = Probes(asked, None)
    for number in range(MAX_PROBES):
        probes.ask(question(trace=f"{number:032x}"))
    with pytest.raises(ValueError, match="under way"):
        probes.ask(question())
    assert asked.watch is not None
    for _ in range(MAX_REQUESTS + 1):
        asked.watch.finished(record(trace="0" * 31 + "1"))
    assert len(probes.ask(question(trace="0" * 31 + "1"))["requests"]) == MAX_REQUESTS  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", question(trace="x"), question(mark="short"), question(mark="a" * 64), b"\xff"]
)
def test_bad_questions(body: bytes) -> None:
    asked = Asked()
    with pytest.raises(ValueError):
        Probes(asked, None).ask(body)
    assert asked.watch is None
