"""CHECKLIST C, line 35: gRPC. `checklist.py` says how to read it."""

from __future__ import annotations

from typing import Final

from tests.conformance.line import Line

_GRPC: Final = "tests/e2e/test_grpc.py::"
_PEERS: Final = "tests/e2e/test_grpc_peers.py::"
_ROUTED: Final = "tests/e2e/test_grpc_routing.py::"
_FAULTS: Final = "tests/e2e/test_grpc_faults.py::"

GRPC_LINES: Final[tuple[Line, ...]] = (
    Line(
        35,
        "gRPC: the four kinds of calls, metadata, statuses, deadlines, cancellation; failures of our own.",
        "Passes as it came; a cancel is upstream at once; our own failures are trailers-only, never OK.",
        "Envoy passes them too, adds fields, and says INTERNAL where a server dies in the middle of a stream.",
        (
            *(f"{_GRPC}test_{name}" for name in ("a_message_of_any_size_both_ways", "server_streaming")),
            *(f"{_GRPC}test_{name}" for name in ("client_streaming", "a_dialog_message_by_message")),
            *(f"{_GRPC}test_{name}" for name in ("a_message_arrives_before_the_next_is_made", "metadata_both_ways")),
            *(f"{_GRPC}test_{name}" for name in ("statuses", "a_status_behind_messages", "unimplemented")),
            *(f"{_GRPC}test_{name}" for name in ("the_deadline_is_known_to_the_server", "a_deadline_that_passes")),
            _GRPC + "test_cancellation_reaches_the_server",
            _PEERS + "test_trailers_only_responses_pass",
            _PEERS + "test_compressed_messages_pass",
            _PEERS + "test_a_cancelled_call_is_reset_upstream",
            _PEERS + "test_grpcurl",
            _ROUTED + "test_a_refusal_has_trailers_only",
            _ROUTED + "test_calls_that_are_refused",
            _ROUTED + "test_a_sandbox_that_does_not_answer",
            _FAULTS + "test_a_server_that_dies_in_a_stream",
            _FAULTS + "test_a_server_that_dies_before_it_answers",
        ),
    ),
)
