"""CHECKLIST C, HTTP/2 (lines 28-34 and 36). `checklist.py` says how to read it, `http2_rules` what line 34 means."""

from __future__ import annotations

from typing import Final

from tests.conformance.http2_rule import EXCHANGE, FLOODS, FLOW, GOAWAY, RESPONSES, VERSIONS
from tests.conformance.http2_rules import RULES
from tests.conformance.line import Line

_MESSAGES: Final = "tests/conformance/test_http2_messages.py::"
_TABLES: Final = ("frames.py::test_frames", "hpack.py::test_blocks", "messages.py::test_malformed")

HTTP2_LINES: Final[tuple[Line, ...]] = (
    Line(
        28,
        "Rapid resets: streams opened only to be reset, by the peer or by making us do it.",
        "GOAWAY ENHANCE_YOUR_CALM once a budget is spent that honest traffic fills; others are served meanwhile.",
        "Envoy drops the connection too.",
        (FLOODS + "test_floods[28: *", FLOODS + "test_an_ordinary_client_is_no_flood"),
    ),
    Line(
        29,
        "CONTINUATION without end, with data and without.",
        "GOAWAY ENHANCE_YOUR_CALM above a number of frames, or above the limit of a head.",
        "Envoy drops the connection too; nghttp2 takes 8 such frames.",
        (FLOODS + "test_floods[29: *",),
    ),
    Line(
        30,
        "Floods of SETTINGS, PING, PRIORITY, WINDOW_UPDATE, empty DATA, and readers that do not read.",
        "The same budget; what waits for a reader is bounded by the windows.",
        "Envoy drops such connections where answers queue up.",
        (
            FLOODS + "test_floods[30: *",
            FLOODS + "test_readers_that_read_nothing*",
            FLOW + "test_what_many_stalled_streams_hold_is_bounded",
        ),
    ),
    Line(
        31,
        "A small block that means a long list of fields.",
        "Counted as it is read, before anything is built; 431 or a reset.",
        "Envoy resets the stream.",
        (FLOODS + "test_an_hpack_bomb", FLOODS + "test_many_small_fields*"),
    ),
    Line(
        32,
        "More open streams than allowed.",
        "REFUSED_STREAM above the announced number; whoever goes on and on is a flood.",
        "Envoy's guide for edges says 100 streams; between services calls share few connections, so it is more here.",
        (EXCHANGE + "test_more_streams_than_announced", FLOODS + "test_floods[32: *"),
    ),
    Line(
        33,
        "Requests of HTTP/2 that would be something else in HTTP/1.1.",
        "RST_STREAM PROTOCOL_ERROR, nothing upstream; every other stream goes on.",
        "Envoy ends the whole connection by default, with everybody else's streams on it.",
        (
            _MESSAGES + "test_malformed*",
            _MESSAGES + "test_malformed_later*",
            _MESSAGES + "test_served*",
            RESPONSES + "test_malformed*",
            VERSIONS + "test_crumbs_become_one_cookie",
            VERSIONS + "test_host_comes_first_and_once",
            VERSIONS + "test_a_body_is_framed*",
        ),
    ),
    Line(
        34,
        "Every MUST of RFC 9113, 7541 and 8441 about frames and messages.",
        "The error at its level, stream or connection, as the table of rules says.",
        "nghttp2 makes connection errors of half a dozen stream errors; Envoy often closes without GOAWAY.",
        (
            "tests/conformance/test_http2_rules.py::test_each_row_belongs_to_one_rule",
            *(f"tests/conformance/test_http2_{table}*" for table in _TABLES),
            *dict.fromkeys(test for rule in RULES for test in rule.tests if "test_malformed" not in test),
        ),
    ),
    Line(
        36,
        "GOAWAY of an upstream.",
        "Streams up to the last are finished, those above are sent elsewhere or answered; new ones go elsewhere.",
        "Not measured.",
        (
            GOAWAY + "test_what_runs_is_finished*",
            GOAWAY + "test_what_was_not_worked_on_is_sent_elsewhere*",
            GOAWAY + "test_last_words_come_in_two_steps",
            GOAWAY + "test_a_body_under_way_is_never_lost_in_silence*",
            GOAWAY + "test_last_words_and_no_more",
        ),
    ),
)
