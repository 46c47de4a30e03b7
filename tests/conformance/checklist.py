"""CHECKLIST, line by line: what we do, where others choose otherwise and why we do not, and the tests that prove it.

Lines 48-51 (a control plane) are missing, as is what they are about. `test_checklist.py` holds the table to the tests.

What is said of Envoy, HAProxy and nginx was measured with near-default settings (1.40, 2.6, 1.22) unless it says
otherwise; Envoy's part of A is measured again, sample by sample, by tests/differential/test_envoy.py.
"""

from __future__ import annotations

from typing import Final

from tests.conformance.grpc_lines import GRPC_LINES
from tests.conformance.http2_lines import HTTP2_LINES
from tests.conformance.http_lines import HTTP_LINES
from tests.conformance.line import (
    ENDPOINTS,
    FAULTS,
    LIMITS,
    PROXY,
    ROUTING,
    STALLED,
    TABLE,
    WEBSOCKET,
    Line,
)

LINES: Final[tuple[Line, ...]] = (
    *HTTP_LINES,
    *sorted((*HTTP2_LINES, *GRPC_LINES), key=lambda line: line.number),
    # --- D: WebSocket ---
    Line(
        37,
        "What passes through a tunnel.",
        "Bytes as they are: what arrives equals what arrives without us.",
        "Not measured.",
        (WEBSOCKET + "test_the_same_dialog_with_and_without", WEBSOCKET + "test_a_library_on_both_sides"),
    ),
    Line(
        38,
        "A refused upgrade, early bytes, half-close, sudden death, drain.",
        "Passed on and the connection's last request; early bytes are never HTTP; ends reach the other side.",
        "Not measured. After a refusal nobody can tell what the early bytes are meant to be.",
        (
            WEBSOCKET + "test_a_refused_upgrade_passes_and_early_bytes_are_no_request",
            WEBSOCKET + "test_early_bytes_reach_the_other_side_as_they_are",
            WEBSOCKET + "test_the_client_ends_its_side_first",
            WEBSOCKET + "test_the_server_ends_its_side_first",
            WEBSOCKET + "test_a_client_that_dies",
            WEBSOCKET + "test_a_server_that_dies",
            WEBSOCKET + "test_the_servers_last_words_arrive_though_it_hears_no_more",
            WEBSOCKET + "test_what_is_not_offered_on*",
            WEBSOCKET + "test_a_101_to_something_else_opens_nothing*",
            WEBSOCKET + "test_a_drain_ends_tunnels_within_its_limit",
        ),
    ),
    # --- E: exhaustion ---
    Line(
        39,
        "Heads that come slowly.",
        "408 and close after `--head-timeout`, however many bytes trickle in.",
        "Envoy closed none in 14 s by default; HAProxy has a limit of its own, as we do.",
        (
            FAULTS + "test_slow_heads_are_closed",
            LIMITS + "test_a_slow_head",
            LIMITS + "test_a_blank_line_is_no_slow_head",
            STALLED + "test_heads_that_never_end*",
        ),
    ),
    Line(
        40,
        "Bodies that come slowly, readers that do not read.",
        "Closed after `--stream-idle-timeout`; the other side's reading stops meanwhile.",
        "Neither Envoy nor HAProxy closed in 9 s.",
        (
            FAULTS + "test_a_slow_reader_stops_the_upstream",
            FAULTS + "test_a_slow_upstream_stops_the_client",
            LIMITS + "test_who_never_reads_does_not_stay",
            STALLED + "test_bodies_that_never_end",
            STALLED + "test_readers_that_never_read",
        ),
    ),
    Line(
        41,
        "More connections than files or than allowed.",
        "503 above `--max-connections`; accepting goes on where files run out.",
        "Envoy sheds load by limits that must be configured (its edge guide).",
        (
            PROXY + "test_max_connections",
            FAULTS + "test_clients_that_leave",
            "tests/e2e/test_open_files.py::test_a_flood",
            "tests/e2e/test_open_files.py::test_requests_that_use_all_files",
            "tests/e2e/test_open_files.py::test_the_cheap_way_again",
        ),
    ),
    Line(
        42,
        "A gigabyte both ways beside a slow peer.",
        "Memory stays within the windows.",
        "Not measured.",
        ("tests/e2e/test_large_bodies.py::test_a_peer_that_pauses*",),
    ),
    # --- F: routing input ---
    Line(
        43,
        "Baggage of 8192 bytes and 64 members, and beyond.",
        "Passes unmodified and routes, at any length within a head; lines are joined up to 8192 bytes.",
        "nginx refuses lines over 8 KB.",
        (
            *(f"{ROUTING}test_the_same_route_each_time[{size}*" for size in ("8192 bytes", "8193 bytes", "64 members")),
            ROUTING + "test_the_same_route_each_time[40 KB]",
            ROUTING + "test_the_same_route_each_time[1000 members]",
            PROXY + "test_long_lines_stay_as_they_are",
        ),
    ),
    Line(
        44,
        "Duplicates, several lines, bad escapes, blanks, empty members, 8-bit text.",
        "The same route each time by SPEC 3, never an error; the service gets the same bytes.",
        "The regex in use with Istio finds any of two keys, in quotes and in other values too.",
        (
            ROUTING + "test_the_same_route_each_time",
            "tests/differential/test_envoy_routing.py::test_deviation",
            "tests/differential/test_otel_propagator.py::test_baggage",
        ),
    ),
    Line(
        45,
        "Tracestate at its limits, and invalid lists.",
        "Passed on as it came; a key in it routes, with or without a good traceparent.",
        "Envoy passes all of it on as well.",
        (
            ROUTING + "test_the_same_route_each_time[tracestate: *",
            "tests/differential/test_otel_propagator.py::test_tracestate",
        ),
    ),
    Line(
        46,
        "Unknown keys, paths, line ends, NULs, addresses where a key belongs.",
        "The baseline, by a documented reason; no place, log line, metric or field is made of it.",
        "Not measured.",
        (
            *(f"{ROUTING}test_the_same_route_each_time[{value} in *" for value in ("a traversal", "an encoded NUL")),
            ROUTING + "test_the_same_route_each_time[an encoded line end*",
            ROUTING + "test_nothing_was_forged",
            ROUTING + "test_an_injected_key_has_no_place_of_its_own",
            "tests/unit/proxy/routing/test_explain.py::test_text_and_json_are_printable_whatever_was_sent",
        ),
    ),
    Line(
        47,
        "64 KB of separators.",
        "Linear, and under 5 ms.",
        "A regex for each sandbox reads them once for each sandbox.",
        (ROUTING + "test_64_kb_are_read_in_5_ms", "tests/property/test_routing.py::test_cost_is_linear"),
    ),
    # --- G: lifecycle ---
    Line(
        52,
        "SIGTERM under load.",
        "/readyz falls, `Connection: close`, what runs is finished, exit code 0, no request lost.",
        "Not measured. A pod has 30 s by default.",
        (
            PROXY + "test_sigterm_finishes_what_runs",
            PROXY + "test_sigterm_when_idle_is_at_once",
            PROXY + "test_a_drain_loses_no_request",
            PROXY + "test_drain_timeout",
            "tests/e2e/test_drain_queue.py::test_a_full_queue",
            "tests/e2e/test_drain_queue.py::test_steady_load_of_new_connections*",
        ),
    ),
    Line(
        53,
        "A sandbox is deleted while it streams.",
        "What runs ends where it began; the next request is 424; tunnels end within the drain's limit.",
        "Not measured.",
        (
            TABLE + "test_a_request_under_way_keeps_its_table",
            TABLE + "test_a_key_that_goes_and_comes_back",
            TABLE + "test_idle_connections_to_a_replaced_sandbox_close",
            WEBSOCKET + "test_a_route_that_leaves_takes_its_tunnels_along",
        ),
    ),
    Line(
        54,
        "An endpoint that comes and goes.",
        "503 while it is gone, itself as soon as it is back, never the baseline; of several the others serve.",
        "Not measured. Envoy and linkerd eject; an endpoint that is the only one has no other to make room for.",
        (
            ENDPOINTS + "test_one_that_comes_and_goes",
            ENDPOINTS + "test_one_that_fails_again_and_again",
            "tests/e2e/test_upstreams.py::test_an_address_that_does_not_answer",
            "tests/unit/proxy/net/test_pool.py::test_an_address_that_fails_is_set_aside_and_tried_again",
            "tests/unit/proxy/net/test_pool.py::test_the_only_address_is_never_set_aside",
        ),
    ),
    Line(
        55,
        "Killed, stopped, or led back to itself.",
        "Starts again at once, with no lock or socket left; its own connection is a 508 or refused before.",
        "Not measured.",
        (
            PROXY + "test_its_own_connection_is_recognised",
            LIMITS + "test_a_connection_of_our_own",
            "tests/e2e/test_same_port.py::test_it_is_no_loop",
            "tests/e2e/test_stopped.py::test_killed_and_started_again",
            "tests/e2e/test_stopped.py::test_held_up_and_continued",
            "tests/e2e/test_stopped.py::test_a_sandbox_that_leads_back",
            "tests/e2e/test_stopped.py::test_another_name_for_itself*",
        ),
    ),
)
