from __future__ import annotations

import pytest

from proxy import errors
from proxy.codec.events import RequestHead
from proxy.codec.fields import ORDINARY, FieldLine
from proxy.routing.decision import Decision
from proxy.telemetry.exemplars import sampled_trace
from proxy.telemetry.metrics import BUCKETS, Histogram, Metrics

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{PARENT}-01"


def head(*lines: str) -> RequestHead:
    return RequestHead(b"GET", b"/", [b"GET / HTTP/1.1", b"Host: a", *(line.encode() for line in lines)], False)


def http2_head(*fields: tuple[str, str]) -> RequestHead:
    lines = [FieldLine(b"", name.encode(), value.encode(), ORDINARY) for name, value in fields]
    return RequestHead(b"GET", b"/", [], False, lines)


# --- which trace ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["traceparent", "Traceparent", "TRACEPARENT"])
@pytest.mark.parametrize("blank", ["", " ", "\t  "])
def test_a_sampled_trace(name: str, blank: str) -> None:
    assert sampled_trace(head("tracestate: a=b", f"{name}:{blank}{SAMPLED}{blank}", "Accept: */*")) == TRACE


def test_of_http2() -> None:
    assert sampled_trace(http2_head((":path", "/"), ("traceparent", SAMPLED), ("te", "trailers"))) == TRACE
    assert sampled_trace(http2_head((":path", "/"))) is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        f"00-{TRACE}-{PARENT}-00",  # not sampled: nobody has it
        f"00-{TRACE}-{PARENT}-02",
        f"ff-{TRACE}-{PARENT}-01",  # no version
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-0",
        f"00-{TRACE}-{PARENT}-01-",  # version 00 has nothing behind
        f"01-{TRACE}-{PARENT}-01x",
        f"00-{TRACE[:-1]}g-{PARENT}-01",
        f"00_{TRACE}-{PARENT}-01",
        f"00-{TRACE}_{PARENT}-01",
        f"00-{TRACE}-{PARENT}_01",
        '00-"} 1 # {trace_id="0af7651916cd43dd8-b7ad6b7169203331-01',
    ],
)
def test_no_trace(value: str) -> None:
    assert sampled_trace(head(f"traceparent: {value}")) is None


@pytest.mark.parametrize("value", [f"00-{TRACE}-{PARENT}-03", f"01-{TRACE}-{PARENT}-01-more"])
def test_other_flags_and_later_versions(value: str) -> None:
    assert sampled_trace(head(f"traceparent: {value}")) == TRACE


def test_a_field_that_only_begins_so() -> None:
    assert sampled_trace(head(f"traceparent-x: {SAMPLED}", f"t: {SAMPLED}")) is None


# --- which request -------------------------------------------------------------------------------------------------

OF = Decision(errors.NO_KEY, "baseline", None, None, 0, None)


def finish(metrics: Metrics, elapsed_s: float, *lines: str) -> None:
    metrics.finished(OF, errors.NO_KEY, 200, elapsed_s, head(*lines))


def histogram(metrics: Metrics) -> Histogram:
    ((_, found),) = metrics.durations()
    return found


def traces(metrics: Metrics) -> dict[int, tuple[str, float]]:
    found = enumerate(histogram(metrics).exemplars)
    return {bucket: (each.trace, each.elapsed_s) for bucket, each in found if each is not None}


def test_nothing_is_looked_for_before_somebody_asks() -> None:
    metrics = Metrics()
    finish(metrics, 0.1, f"traceparent: {SAMPLED}")
    assert traces(metrics) == {}


def test_the_first_of_each_bucket_after_a_scrape() -> None:
    metrics = Metrics()
    finish(metrics, 0.1)
    metrics.look_for_exemplars()
    for number, elapsed_s in enumerate((0.00001, 0.00002, 0.1, 0.09, 100.0), 1):
        finish(metrics, elapsed_s, f"traceparent: 00-{number:032x}-{PARENT}-01")
    assert traces(metrics) == {
        0: (f"{1:032x}", 0.00001),
        BUCKETS.index(0.1): (f"{3:032x}", 0.1),
        len(BUCKETS): (f"{5:032x}", 100.0),
    }
    metrics.look_for_exemplars()
    finish(metrics, 0.1, f"traceparent: 00-{6:032x}-{PARENT}-01")
    assert traces(metrics)[BUCKETS.index(0.1)] == (f"{6:032x}", 0.1)
    assert traces(metrics)[0] == (f"{1:032x}", 0.00001)


def test_few_requests_are_looked_at() -> None:
    """Where nobody traces, a scrape must not cost a look into every request."""
    metrics = Metrics()
    finish(metrics, 0.1)
    metrics.look_for_exemplars()
    for _ in range(16):
        finish(metrics, 0.1)
    assert histogram(metrics).looking[BUCKETS.index(0.1)] == 0
    finish(metrics, 0.1, f"traceparent: {SAMPLED}")
    assert traces(metrics) == {}
