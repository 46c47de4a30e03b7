"""What an exchange notes for the access log and for traces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from proxy import errors
from proxy.codec.events import CHUNKED, END
from proxy.exchange import Exchange
from proxy.places import RouterPlaces
from proxy.telemetry.record import Record
from proxy.telemetry.watch import Watch
from proxy.watched import WatchedExchange
from tests.support.exchange import BASELINE, SANDBOX, SANDBOX_2, TAGGED, WORKLOAD, Script, request_head, route_table
from tests.support.h2script import http2_head
from tests.support.records import Log

STRICT = "tracestate: sd-strict=1"


@dataclass
class Watched:
    """A script whose records are kept."""

    script: Script = field(default_factory=Script)

    def __post_init__(self) -> None:
        self.records: list[Record] = []
        self.script.watch = Watch(None, self.records.append)
        self.script.__post_init__()

    @property
    def record(self) -> Record:
        (record,) = self.records
        return record


def test_without_a_watch_it_is_a_plain_exchange() -> None:
    script = Script(idle=(BASELINE,))
    script.start(request_head())
    assert type(script.exchange) is Exchange


def test_a_request_to_a_sandbox() -> None:
    watched = Watched(Script(idle=(SANDBOX,)))
    script = watched.script
    script.start(request_head(TAGGED, "Transfer-Encoding: chunked", method="POST"))
    assert type(script.exchange) is WatchedExchange
    script.request_body(b"abc")
    script.request_body(b"de")
    script.request_end()
    script.response_head(200, CHUNKED)
    script.response_body(b"1234567")
    assert not watched.records
    script.response_end()
    record = watched.record
    assert (record.status, record.reason, record.kind, record.flag) == (200, errors.ROUTE, "sandbox", "")
    assert (record.key, record.workload, record.endpoint, record.attempts) == (b"key", WORKLOAD, SANDBOX, 1)
    assert (record.request_bytes, record.response_bytes) == (5, 7)
    assert (record.peer, record.authority, record.grpc_status) == (b"192.0.2.9", b"location", -1)
    assert record.started_s <= record.connected_s <= record.answered_s <= record.ended_s
    assert record.ended_at_s > 1e9


def test_connections_that_fail_are_attempts() -> None:
    watched = Watched(Script(route_table(SANDBOX, SANDBOX_2)))
    script = watched.script
    script.start(request_head(TAGGED))
    script.connect_failed()
    script.connected()
    script.response_head()
    script.response_end()
    assert (watched.record.attempts, watched.record.endpoint) == (2, SANDBOX_2)


def test_nobody_answers() -> None:
    watched = Watched()
    script = watched.script
    script.start(request_head(TAGGED))
    script.connect_failed(errors.SANDBOX_TIMEOUT)
    record = watched.record
    assert (record.status, record.flag, record.attempts, record.endpoint) == (504, "ST", 1, SANDBOX)
    assert (record.connected_s, record.answered_s, record.response_bytes) == (0.0, 0.0, 0)


def test_sent_again_on_another_connection() -> None:
    watched = Watched(Script(idle=(BASELINE,)))
    script = watched.script
    script.start(request_head())
    script.upstream_failed(errors.UPSTREAM_CLOSED)
    script.connected()
    script.response_head()
    script.response_end()
    assert (watched.record.attempts, watched.record.status, watched.record.flag) == (2, 200, "")


def test_to_the_baseline_instead() -> None:
    watched = Watched(Script(failure_to_baseline=True))
    script = watched.script
    script.start(request_head(TAGGED))
    script.connect_failed()
    script.connected()
    script.response_head()
    script.response_end()
    record = watched.record
    assert (record.kind, record.reason, record.flag, record.status) == (
        "baseline",
        errors.SANDBOX_UNREACHABLE,
        "SU",
        200,
    )
    assert (record.endpoint, record.attempts, record.has_failed) == (BASELINE, 2, False)


def test_an_interim_head_is_no_answer() -> None:
    watched = Watched(Script(idle=(BASELINE,)))
    script = watched.script
    script.start(request_head())
    script.response_head(100, 0)
    script.upstream_failed(errors.UPSTREAM_TIMEOUT)
    assert (watched.record.status, watched.record.answered_s) == (504, 0.0)


@pytest.mark.parametrize(
    ("end", "flag", "status"),
    [
        (lambda script: script.upstream_failed(errors.UPSTREAM_CLOSED), "UX", 200),
        (lambda script: script.does(script.exchange.downstream_failed), "DC", 200),
        (lambda script: script.does(lambda: script.exchange.downstream_failed(errors.DRAINED)), "DN", 200),
        (lambda script: script.does(script.exchange.stream_timed_out), "SI", 200),
    ],
)
def test_cut_off_after_the_head(end: Callable[[Script], object], flag: str, status: int) -> None:
    watched = Watched(Script(idle=(BASELINE,)))
    script = watched.script
    script.start(request_head())
    script.response_head(200, 10)
    script.response_body(b"1234")
    end(script)
    assert (watched.record.flag, watched.record.status, watched.record.response_bytes) == (flag, status, 4)
    assert watched.record.has_failed


def test_a_tunnel_counts_what_passes_and_ends_once() -> None:
    watched = Watched(Script(idle=(BASELINE,)))
    script = watched.script
    script.start(request_head("Connection: Upgrade", "Upgrade: websocket"))
    script.response_head(101, -2)
    script.up.is_request_complete = False  # a tunnel's bytes follow
    script.request_body(b"ping!")
    script.response_body(b"pong")
    script.request_end()
    script.response_end()
    record = watched.record
    assert (record.status, record.request_bytes, record.response_bytes, record.flag) == (101, 5, 4, "")


def test_refused() -> None:
    watched = Watched()
    watched.script.start(request_head("baggage: sd-routing-key=nobody", STRICT))
    record = watched.record
    assert (record.status, record.flag, record.reason, record.attempts) == (424, "UK", errors.UNKNOWN_KEY, 0)
    assert (record.key, record.endpoint, record.workload) == (b"nobody", None, WORKLOAD)


def test_a_call() -> None:
    watched = Watched(Script(idle=(BASELINE,)))
    script = watched.script
    script.start(http2_head(("content-type", "application/grpc"), method="POST", path="/a.B/C"))
    script.does(lambda: script.exchange.downstream_failed())
    assert (watched.record.grpc_status, watched.record.flag) == (1, "DC")


def test_a_router_without_such_a_host() -> None:
    watched = Watched()
    script = watched.script
    script.port = type(script.port)(
        places=RouterPlaces(),
        identities=script.port.identities,
        reader=script.port.reader,
        pool=script.port.pool,
        metrics=script.metrics,
        failure_to_baseline=False,
        decision_field=False,
        watch=script.watch,
    )
    script.start(request_head(TAGGED))
    record = watched.record
    assert (record.kind, record.workload, record.key) == ("none", None, b"key")
    assert record.flag in ("UH", "NS")


def test_what_was_no_request() -> None:
    log = Log()
    records: list[Record] = []
    Watch(log.log, records.append).refused(errors.URI_TOO_LONG, b"192.0.2.1")
    (line,) = log.taken()
    assert (line["status"], line["flag"], line["peer"]) == (414, "TL", "192.0.2.1")
    assert not records  # there is nothing to make a span of


def test_no_end_is_told_twice() -> None:
    watched = Watched(Script(idle=(BASELINE,)))
    script = watched.script
    script.start(request_head())
    script.response_head(200, 2)
    script.response_body()
    script.response_end(END)
    script.does(lambda: script.exchange.downstream_failed())
    assert len(watched.records) == 1
