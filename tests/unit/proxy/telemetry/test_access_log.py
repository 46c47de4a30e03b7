from __future__ import annotations

import pytest

from proxy import errors
from proxy.routing.decision import Decision
from proxy.routing.names import Endpoint, Workload
from proxy.telemetry.access_log import MAX_LINE, MAX_NAME, MAX_REQUEST_ID, MAX_TARGET, text
from tests.support.h2script import http2_head
from tests.support.records import TRACE, TRACEPARENT, Log, grpc_head, h1_head, parsed, record, refused_record


def fields(made: object) -> dict[str, object]:
    return parsed(Log().log.line(made))  # type: ignore[arg-type]


class TestFields:
    def test_all_of_a_request(self) -> None:
        head = h1_head(f"traceparent: {TRACEPARENT}", "x-request-id: r-1", method="POST", target="/a?b=c")
        assert fields(record(head)) == {
            "time": "2025-11-25T13:59:59.125Z",
            "duration_us": 1000000,
            "connect_us": 250000,
            "head_us": 500000,
            "method": "POST",
            "authority": "location",
            "target": "/a?",
            "protocol": "HTTP/1.1",
            "status": 200,
            "decision": "sandbox",
            "reason": "route",
            "sandbox": "pr-1",
            "routing_key": "key",
            "workload": "hotrod/Deployment/location",
            "endpoint": "10.0.0.7:8081",
            "attempts": 1,
            "request_bytes": 3,
            "response_bytes": 5,
            "peer": "192.0.2.9",
            "trace_id": TRACE,
            "request_id": "r-1",
        }

    def test_what_there_is_not_is_left_out(self) -> None:
        decision = Decision(errors.NO_KEY, "none", None, None, 424)
        made = record(
            decision=decision,
            reason=errors.NO_KEY,
            status=424,
            key=None,
            workload=None,
            endpoint=None,
            attempts=0,
            connected_s=0.0,
            answered_s=0.0,
        )
        found = fields(made)
        assert (found["status"], found["decision"], found["reason"], found["flag"]) == (424, "none", "no_key", "NK")
        absent = {"connect_us", "head_us", "sandbox", "routing_key", "workload", "endpoint", "grpc_status"}
        assert not absent & found.keys()
        assert not {"trace_id", "request_id", "decided", "note"} & found.keys()

    def test_what_was_no_request(self) -> None:
        assert fields(refused_record()) == {
            "time": "2025-11-25T14:00:00.125Z",
            "duration_us": 0,
            "status": 400,
            "decision": "none",
            "reason": "bad_request",
            "flag": "BR",
            "attempts": 0,
            "request_bytes": 0,
            "response_bytes": 0,
            "peer": "192.0.2.9",
        }

    def test_a_failure_says_why_it_had_gone_there(self) -> None:
        found = fields(record(reason=errors.SANDBOX_UNREACHABLE, status=503))
        assert (found["reason"], found["flag"], found["decided"]) == ("sandbox_unreachable", "SU", "route")

    def test_a_call(self) -> None:
        found = fields(record(grpc_head(), grpc_status=14))
        assert (found["protocol"], found["method"], found["grpc_status"]) == ("HTTP/2", "POST", 14)
        assert found["target"] == "/hotrod.Location/Echo"

    def test_ids_in_http2(self) -> None:
        found = fields(record(http2_head(("traceparent", TRACEPARENT), ("x-request-id", "r"))))
        assert (found["trace_id"], found["request_id"]) == (TRACE, "r")

    def test_old_http(self) -> None:
        assert fields(record(h1_head(http10=True)))["protocol"] == "HTTP/1.0"

    def test_an_ambiguous_key(self) -> None:
        assert fields(record(decision=record().decision.noted(), reason=errors.ROUTE))["note"] == "ambiguous_key"  # type: ignore[union-attr]

    def test_a_note_is_not_of_the_next_request(self) -> None:
        log = Log()
        log.log.finished(record(reason=errors.UPSTREAM_CLOSED, status=502))
        log.log.finished(record())
        assert [line.get("flag") for line in log.taken()] == ["UC", None]

    def test_the_clock_may_stand_at_a_whole_second(self) -> None:
        assert fields(record(ended_at_s=1764079201.0))["time"] == "2025-11-25T14:00:00.000Z"
        assert fields(record(ended_at_s=1764079200.999999))["time"] == "2025-11-25T13:59:59.999Z"


class TestEscaping:
    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            (b"", '""'),
            (b"/plain", '"/plain"'),
            (b'a"b\\c', '"a\\"b\\\\c"'),
            (b"a\nb\r\tc\x00\x1b[31m\x7f", '"a\\nb\\r\\tc\\u0000\\u001b[31m\\u007f"'),
            ("café \U0001f600\u2028".encode(), '"caf\\u00e9 \\ud83d\\ude00\\u2028"'),
            (b"\xff\xfe\xc3", '"\\\\xff\\\\xfe\\\\xc3"'),
            (b"\xed\xa0\x80", '"\\\\xed\\\\xa0\\\\x80"'),
            (b"</script>", '"</script>"'),
        ],
    )
    def test_shown(self, value: bytes, shown: str) -> None:
        assert text(value, 100) == shown

    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            (b"1234567890", '"1234567890"'),
            (b"12345678901", '"1234\\u2026"'),
            (b"123\n567890", '"123\\u2026"'),  # with its escape it would be longer than the limit
            (b"\n" * 10, '"\\n\\n\\u2026"'),
            (b"12\n", '"12\\n"'),
        ],
    )
    def test_cut(self, value: bytes, shown: str) -> None:
        assert text(value, 10) == shown

    def test_a_line_fits_into_a_pipe_whatever_came(self) -> None:
        """PIPE_BUF is 4096, and a line that is longer could be torn."""
        strange = '\u2028\x00"' * 30_000
        part = "p" * 253
        head = h1_head(f"traceparent: {TRACEPARENT}", method="M" * 9000, target="/" + "t" * 9000)
        head.lines.append(b"x-request-id: " + strange.encode())
        made = record(
            head,
            authority=strange.encode(),
            peer=b"\xff" * 9000,
            reason=errors.UPSTREAM_HEAD_TOO_LARGE,
            decision=Decision(errors.PREVIEW_NOT_AUTHENTICATED, "sandbox", "s" * 253, None, 0).noted(),
            key=b"k" * 63,
            workload=Workload(part, part, part),
            endpoint=Endpoint("h" * 254, 65535),
            grpc_status=16,
            attempts=10**6,
            request_bytes=2**63,
            response_bytes=2**63,
            connected_s=1e9,
            answered_s=1e9,
            ended_s=1e9,
        )
        line = Log().log.line(made)
        found = parsed(line)
        assert len(line) <= MAX_LINE
        assert len(found["method"]) == MAX_NAME - 5
        assert len(found["target"]) == MAX_TARGET - 5
        assert len(text(strange.encode(), MAX_REQUEST_ID)) <= MAX_REQUEST_ID + 2


class TestSampling:
    def test_what_is_notable_is_always_there(self) -> None:
        log = Log(sample=0.0)
        for made in (
            record(),
            record(status=404),
            record(status=500),
            record(reason=errors.UPSTREAM_TRUNCATED),
            record(grpc_head(), grpc_status=13),
            refused_record(),
        ):
            log.log.finished(made)
        assert [(line["status"], line.get("flag")) for line in log.taken()] == [
            (500, None),
            (200, "UX"),
            (200, None),
            (400, "BR"),
        ]

    def test_a_share(self) -> None:
        log = Log(sample=0.3)
        for _ in range(5000):
            log.log.finished(record())
        assert 1250 < len(log.taken()) < 1750  # 7 standard deviations

    def test_all(self) -> None:
        log = Log()
        for _ in range(1000):
            log.log.finished(record())
        assert len(log.taken()) == 1000
        assert log.metrics.log_lines == 1000


def test_what_is_remembered_is_bounded() -> None:
    log = Log()
    for number in range(2000):
        authority = f"host-{number}".encode()
        decision = Decision(errors.ROUTE, "sandbox", f"s{number}", None, 0)
        endpoint = Endpoint(f"e{number}", 1)
        workload = Workload("a", "b", f"w{number}")
        log.log.finished(record(authority=authority, decision=decision, endpoint=endpoint, workload=workload))
    found = log.taken()
    for number, line in enumerate(found):
        assert (line["authority"], line["sandbox"]) == (f"host-{number}", f"s{number}")
        assert (line["endpoint"], line["workload"]) == (f"e{number}:1", f"a/b/w{number}")
    kept = (log.log._names, log.log._decisions, log.log._endpoints, log.log._workloads)
    assert all(len(texts) <= 512 for texts in kept)
