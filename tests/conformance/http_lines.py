"""CHECKLIST A and B: HTTP/1.1 in both directions. `checklist.py` says how to read it."""

from __future__ import annotations

from typing import Final

from tests.conformance.line import (
    ENDPOINTS,
    ENVOY,
    EXPECT,
    FAULTS,
    FRAMING,
    LIMITS,
    PROXY,
    RESPONSES,
    ROUTING,
    STREAMING,
    Line,
)


def _refused(line: str, *more: str) -> tuple[str, ...]:
    """The corpus' samples of a line: alone, byte by byte, before and behind good requests."""
    names = (f"test_refused[{line} *", f"test_refused_behind_a_good_request[{line} *")
    return (*(FRAMING + name for name in names), *more)


HTTP_LINES: Final[tuple[Line, ...]] = (
    # --- A: framing of requests ---
    Line(
        1,
        "A length and a coding in one request.",
        "400 and close; neither is believed.",
        "HAProxy takes the coding, as RFC 9112 6.3 allows: whoever stands behind it may take the length.",
        _refused("A1"),
    ),
    Line(
        2,
        "A second request hidden where two readers see different ends.",
        "400 and close; never a second answer, never a second request upstream.",
        "Envoy reads two requests where a coding is folded or stands behind a bare CR.",
        _refused("A2", ENVOY + "test_nothing_is_served_that_smuggles", FAULTS + "test_attacks"),
    ),
    Line(
        3,
        "Lengths that are no number, or several.",
        "400 and close: ASCII digits up to 2^63-1, once; not even equal ones are merged.",
        "RFC 9110 8.6 allows merging equals; readers take the first, the last or both. Envoy waits for 2^63 bytes.",
        _refused("A3"),
    ),
    Line(
        4,
        "Chunk sizes that are no number, and chunk lines that do not end in CRLF.",
        "400, no blanks round a size, both connections end; the request is never whole upstream.",
        "Envoy takes blanks behind a size and a bare LF behind data; the next reader may not.",
        _refused("A4", FRAMING + "test_both_connections_die[A4 *"),
    ),
    Line(
        5,
        "Chunk extensions with controls, or that are none by the grammar.",
        "400 and both connections end; good ones are read over and not passed on.",
        "Envoy, HAProxy and nginx take anything up to the line's end, which is not the same place for everybody.",
        _refused(
            "A5",
            FRAMING + "test_both_connections_die[A5 *",
            FRAMING + "test_served[A chunk extensions]",
            FRAMING + "test_served[A a chunk line of 1024 bytes]",
        ),
    ),
    Line(
        6,
        "Chunk data longer, or shorter, than its size.",
        "400 and both connections end.",
        "Envoy answers 200 first, since it streams too, and skips what spills over.",
        _refused("A6", FRAMING + "test_both_connections_die[A6 *"),
    ),
    Line(
        7,
        "Trailers that frame, name a host or route.",
        "Dropped unread, the others travel on; a key in a trailer never routes. Malformed trailers: 400.",
        "All three pass every trailer on, to services that may merge them into the head.",
        _refused(
            "A7",
            FRAMING + "test_both_connections_die[A7 *",
            FRAMING + "test_served[A7 *",
            "tests/unit/proxy/codec/h1/test_request.py::test_trailers",
            PROXY + "test_bodies",
        ),
    ),
    Line(
        8,
        "Folded field lines.",
        "400, so that the proxy and the service cannot read different keys.",
        "Envoy and HAProxy unfold (RFC 9112 5.2 allows both), nginx refuses.",
        _refused("A8"),
    ),
    Line(
        9,
        "NUL, bare CR, bare LF and other controls; bytes that Python takes for blanks.",
        "400 wherever they stand; \\x85 and \\xa0 are part of a value and travel on.",
        "HAProxy passes NUL and controls, nginx controls, Envoy a bare CR and a bare LF for a line's end.",
        _refused(
            "A9",
            FRAMING + "test_served[A9 *",
            ROUTING + "test_the_same_route_each_time[a key before *",
            "tests/unit/proxy/codec/h1/test_request.py::test_python_strips_too_much",
        ),
    ),
    Line(
        10,
        "A blank before the colon, no colon, no name, a name that is no token.",
        "400 (RFC 9112 5.1).",
        "nginx answers 200 to a line without a colon; as Envoy and HAProxy we refuse what we cannot read.",
        _refused("A10"),
    ),
    Line(
        11,
        "Host missing, twice, or not a plain authority.",
        "400, in HTTP/1.0 too where it stands twice; an underscore in it is fine, Compose names services so.",
        "Envoy joins two Hosts and takes userinfo and bad ports; routers and services would choose differently.",
        _refused("A11"),
    ),
    Line(
        12,
        "Versions that nobody speaks, none at all, HTTP/0.9; HTTP/1.0.",
        "505, or 400 where it is no version; HTTP/1.0 is served and goes on as HTTP/1.1.",
        "Envoy answers 426 to HTTP/1.0 by default; health checks and old clients still speak it.",
        _refused("A12", FRAMING + "test_served[A12 *", PROXY + "test_http_1_0"),
    ),
    Line(
        13,
        "Transfer codings other than `chunked` alone.",
        "501 for one that could be read by who knows it, 400 for any that leaves the end open.",
        "As Envoy (400/501) and nginx (501); HAProxy says 400 or 422.",
        _refused("A13"),
    ),
    Line(
        14,
        "Targets: absolute-form against Host, `*` with GET, CONNECT, fragments, raw 8-bit; bad request lines.",
        "400; 405 for CONNECT: never a tunnel. Absolute-form that agrees with Host goes on as it is.",
        "Envoy rewrites Host by the target (RFC 9112 3.2.2); which of the two was meant is not ours to guess.",
        _refused("A14", FRAMING + "test_served[A absolute-form*"),
    ),
    Line(
        15,
        "Heads and trailers over 60 KiB or 100 fields, targets of 100 KB.",
        "431, 414 for the target, and close; exactly the limit is served, however it is cut.",
        "As Envoy's limits; HAProxy says 400.",
        _refused("A15", FRAMING + "test_both_connections_die[A15 *", FRAMING + "test_served[A15 *"),
    ),
    Line(
        16,
        "Several requests in one go, good and bad ones.",
        "Answered in order, one at a time; a fault loses no response before it, and nothing behind it is read.",
        "Not measured.",
        (
            FRAMING + "test_pipelines",
            FRAMING + "test_refused_behind_a_good_request",
            LIMITS + "test_pipelined_bytes_are_bounded",
        ),
    ),
    Line(
        17,
        "Expect: 100-continue.",
        "Goes on with the head; the origin's 100 is forwarded once, a final status may come first.",
        "Not measured. Who says 100 for the service gets a body sent that it would have refused.",
        (
            EXPECT + "test_100_is_forwarded_once",
            EXPECT + "test_the_body_follows_100",
            EXPECT + "test_the_body_need_not_wait",
            EXPECT + "test_a_final_status_may_come_first",
            EXPECT + "test_our_own_answer_comes_first",
        ),
    ),
    Line(
        18,
        "Connection names routing, framing or host fields.",
        "What it names goes, save `baggage`, `tracestate`, `host`, the lengths, our mark and key headers.",
        "Envoy refuses `Connection: host`; a caller that sends it means no harm.",
        (
            FRAMING + "test_served[A18 *",
            ROUTING + "test_the_same_route_each_time[named by Connection]",
            ROUTING + "test_the_same_route_each_time[tracestate named by Connection]",
            "tests/unit/proxy/codec/h1/test_request.py::test_hop_by_hop",
        ),
    ),
    # --- B: responses ---
    Line(
        19,
        "The upstream refuses the connection.",
        "503 that names the sandbox; never the baseline, unless asked for by a flag.",
        "Envoy and HAProxy say 503, nginx 502.",
        (
            PROXY + "test_a_dead_sandbox_is_never_the_baseline",
            PROXY + "test_on_sandbox_failure_baseline",
            FAULTS + "test_baseline_down",
            ENDPOINTS + "test_one_that_comes_and_goes",
        ),
    ),
    Line(
        20,
        "It accepts and closes, or says what is no status line.",
        "502 that names the endpoint.",
        "Envoy says 503 to a close; nginx passes garbage on as HTTP/0.9.",
        (RESPONSES + "test_no_response", FAULTS + "test_no_valid_response"),
    ),
    Line(
        21,
        "It dies in the middle of a body.",
        "The downstream sees that it was cut: no last chunk, a reset where only the end ends it.",
        "All three send what they have and end.",
        (
            RESPONSES + "test_a_broken_body_is_never_complete",
            FAULTS + "test_cut_responses_are_never_complete",
            FAULTS + "test_a_reset_body_until_close_is_not_complete",
        ),
    ),
    Line(
        22,
        "Bytes behind a complete response, at once or later.",
        "Dropped with their connection; nobody else gets them.",
        "All three pass the first response only; whether they use the connection again was not measured.",
        (
            RESPONSES + "test_served[two responses-whole]",
            RESPONSES + "test_served[204 with a body-whole]",
            RESPONSES + "test_a_late_response_reaches_nobody",
            FAULTS + "test_a_second_response_reaches_nobody",
        ),
    ),
    Line(
        23,
        "Both lengths, two lengths, controls, 204 with a body, 200 KB of head.",
        "502; 204 goes on without framing or body.",
        "Envoy and nginx alike; all three say 502 to the large head.",
        (
            RESPONSES + "test_no_response[both lengths-*",
            RESPONSES + "test_no_response[two lengths*",
            RESPONSES + "test_no_response[NUL in a value-*",
            RESPONSES + "test_no_response[a large head-*",
            RESPONSES + "test_204_goes_on_without_framing",
        ),
    ),
    Line(
        24,
        "A body until the end; 103, then 200.",
        "Chunked towards HTTP/1.1, closed towards HTTP/1.0; interim heads pass, the final one arrives.",
        "nginx hangs at 103; HAProxy closes instead of chunking, which costs a connection.",
        (
            RESPONSES + "test_served[until the end-*",
            RESPONSES + "test_served[103 before-*",
            FAULTS + "test_a_body_until_close_is_chunked",
            FAULTS + "test_early_hints",
            STREAMING + "test_events_arrive_at_once*",
            STREAMING + "test_hints_come_before_the_answer_is_known",
        ),
    ),
    Line(
        25,
        "A final response before the upload ends.",
        "Delivered; the rest of the upload is dropped, then both connections end.",
        "All three deliver it.",
        (
            FAULTS + "test_early_final_response",
            EXPECT + "test_a_final_status_may_come_first",
            STREAMING + "test_an_early_answer_stops_the_upload",
        ),
    ),
    Line(
        26,
        "A pooled connection ends as a request is sent.",
        "Sent once more, over a fresh one, if idempotent and without a body; anything else gets 502.",
        "Envoy says 503 to both without a retry policy; nginx does as we do.",
        (
            RESPONSES + "test_what_may_have_been_executed_is_not_sent_again",
            RESPONSES + "test_no_response[1xx without end-*",
            FAULTS + "test_stale_connections",
        ),
    ),
    Line(
        27,
        "How often something is tried.",
        "Two attempts at most; the time limit is the request's.",
        "Not measured. Budgets are for retries that are more than one, of a stale connection.",
        (
            RESPONSES + "test_retries_are_bounded",
            RESPONSES + "test_a_timeout_is_not_tried_again",
            FAULTS + "test_a_get_is_not_repeated_on_a_fresh_connection",
            FAULTS + "test_connect_timeout",
        ),
    ),
)
