"""The proxy's own words, as README has them ("When something fails", "HTTP/2 and gRPC"), and how gRPC calls end."""

from __future__ import annotations

from tests.soak.asking import Asked
from tests.soak.calls import GRPC
from tests.soak.peer import Got

FAILURES = {
    ("sandbox_unreachable", 503): "connection_refused",
    ("sandbox_unreachable", 504): "connection_timeout",
    ("baseline_unreachable", 503): "connection_refused",
    ("baseline_unreachable", 504): "connection_timeout",
    ("upstream_closed", 502): "connection_terminated",
    ("upstream_invalid", 502): "http_protocol_error",
    ("upstream_refused", 503): "connection_terminated",
}
REFUSALS = {
    424: "http_request_denied",
    ("no_destination", 503): "destination_unavailable",
    ("port_not_mapped", 503): "destination_not_found",
}
_STATUSES = {
    (reason, error): status
    for table in (FAILURES, REFUSALS)
    for (reason, status), error in ((key, error) for key, error in table.items() if isinstance(key, tuple))
}
_GRPC_STATUSES = {424: "9", 502: "14", 503: "14", 504: "14"}
_TRUNCATED = 'pointsman; error=http_response_incomplete; details="upstream_truncated: '


def status_of(got: Got, asked: Asked, reason: str, error: str) -> int:
    """The status of the proxy's own answer; of a gRPC call the one that HTTP would have."""
    if not asked.is_grpc:
        return got.status
    return 424 if error == REFUSALS[424] else _STATUSES.get((reason, error), 0)


def fault_of_status(got: Got, asked: Asked, status: int) -> str:
    """What is wrong with its form, if it is of a gRPC call: trailers only, with the status that goes with the other."""
    if not asked.is_grpc:
        return ""
    if got.status != 200 or got.value(b"content-type") != GRPC or got.body or got.trailers:
        return "no trailers-only answer"
    if got.value(b"grpc-status") != _GRPC_STATUSES.get(status) or "pointsman: " not in got.value(b"grpc-message"):
        return f"another gRPC status than that of {status}"
    return ""


def fault_of_end(got: Got, asked: Asked) -> tuple[bool, str]:
    """Whether a forwarded answer broke off, and what is wrong with how it ended."""
    if not got.is_whole or not asked.is_grpc:
        return not got.is_whole, ""
    status = got.trailer(b"grpc-status")
    if status == "0":
        return False, ""
    if status == "14" and got.trailer(b"proxy-status").startswith(_TRUNCATED) and got.trailer(b"grpc-message"):
        return True, ""
    return False, f"a call that ends with status {status!r}"
