"""Every reason a request can end with, in one table.

A reason is a stable word. It stands in the decision header, in `Proxy-Status` details, in metrics, in `/explain` and in
the README, spelled the same everywhere. Two kinds share the table, because to a user they are one thing, the answer to
"why?":

- decisions (SPEC 4): why a request went where it went, or why it was refused before anything was sent;
- failures: what went wrong afterwards, with whose fault it was and how it is answered.

`status` is the answer's status where we answer ourselves. Decisions that forward have 0; if a strict request is refused
for one of those reasons the answer is 424 (`STRICT_STATUS`).

Exceptions: `ProtocolError` carries its reason. HTTP/2 has others below it that carry an error code for the peer
(`codec.h2.frames.ConnectionFault`) or mean that a stream's message is none (`Malformed`); they don't leave the codec
and `net`. Everything else that fails is reported by a reason, not raised.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

STRICT_STATUS: Final = 424


class Side(Enum):
    """Whose fault it is."""

    DOWNSTREAM = "downstream"
    UPSTREAM = "upstream"
    INTERNAL = "internal"
    NONE = "none"


@dataclass(frozen=True, slots=True, eq=False)
class Reason:
    """One row of the table.

    `flag` is the row in two letters, for access logs; unlike a name, no two rows share one. `proxy_error` is the error
    token of RFC 9209 section 2.3 for our own answer. `grpc_status` is the code of a trailers-only answer to a gRPC call
    (SPEC 4).
    """

    name: str
    flag: str
    side: Side
    status: int
    proxy_error: str
    text: str
    grpc_status: int = 14

    def __str__(self) -> str:
        return self.name


GRPC_DEADLINE_EXCEEDED: Final = 4
GRPC_UNAVAILABLE: Final = 14
_DENIED: Final = "http_request_denied"

# --- decisions: forwarded ------------------------------------------------------------------------------------------
ROUTE: Final = Reason("route", "RO", Side.NONE, 0, _DENIED, "a live key with a route for this workload and port")
NO_KEY: Final = Reason("no_key", "NK", Side.NONE, 0, _DENIED, "no routing key in any header that is read", 9)
INVALID_KEY: Final = Reason("invalid_key", "IK", Side.NONE, 0, _DENIED, "the value found is no routing key", 9)
NOT_FORKED: Final = Reason(
    "not_forked", "NF", Side.NONE, 0, _DENIED, "a live key whose sandbox does not fork this workload", 9
)
GONE_ROUTE: Final = Reason(
    "gone_route",
    "GR",
    Side.NONE,
    0,
    _DENIED,
    "a live key whose route for this workload was taken away within the hour",
    9,
)
UNKNOWN_KEY: Final = Reason("unknown_key", "UK", Side.NONE, 0, _DENIED, "a key that no sandbox has or had", 9)

# --- decisions: refused --------------------------------------------------------------------------------------------
LOOP: Final = Reason(
    "loop", "LP", Side.DOWNSTREAM, 508, "proxy_loop_detected", "the request met this workload's proxy before", 9
)
AMBIGUOUS_KEY: Final = Reason(
    "ambiguous_key", "AK", Side.DOWNSTREAM, 424, _DENIED, "two different values for one key", 9
)
NOT_SYNCED: Final = Reason(
    "not_synced", "NS", Side.INTERNAL, 503, "destination_not_found", "no routing table received yet"
)
NO_DESTINATION: Final = Reason(
    "no_destination", "ND", Side.UPSTREAM, 503, "destination_unavailable", "the route has no destination (not ready)"
)
PORT_NOT_MAPPED: Final = Reason(
    "port_not_mapped", "PM", Side.UPSTREAM, 503, "destination_not_found", "the route does not map this port"
)
UNKNOWN_HOST: Final = Reason(
    "unknown_host",
    "UH",
    Side.DOWNSTREAM,
    421,
    "destination_not_found",
    "no service of the router's table has this host",
    12,
)
NOT_CAPTURED: Final = Reason(
    "not_captured",
    "NC",
    Side.DOWNSTREAM,
    421,
    "destination_not_found",
    "it came straight to the listener of --transparent: nobody knows which port it is for",
    12,
)
NOT_LOCAL: Final = Reason(
    "not_local",
    "NL",
    Side.DOWNSTREAM,
    421,
    "destination_ip_prohibited",
    "it was captured on its way to an address that is not this machine's, or that only this machine may call",
    12,
)
CALLER_NOT_ALLOWED: Final = Reason(
    "caller_not_allowed",
    "CA",
    Side.DOWNSTREAM,
    403,
    _DENIED,
    "the service takes listed callers only, and this is none, or nobody knows who it is",
    7,
)
UNKNOWN_PREVIEW: Final = Reason(
    "unknown_preview",
    "UP",
    Side.DOWNSTREAM,
    421,
    "destination_not_found",
    "a preview domain's host that is no preview",
    12,
)
PREVIEW_NOT_AUTHENTICATED: Final = Reason(
    "preview_not_authenticated", "PA", Side.DOWNSTREAM, 401, _DENIED, "who may see previews must be proved", 16
)
PREVIEW_ORIGIN: Final = Reason(
    "preview_origin", "PO", Side.DOWNSTREAM, 403, _DENIED, "asked for by a page of another site, or of another key", 7
)
PREVIEW_LOGIN: Final = Reason("preview_login", "PL", Side.NONE, 200, _DENIED, "the preview gateway's own login form")
GONE_KEY: Final = Reason(
    "gone_key", "GK", Side.DOWNSTREAM, 424, _DENIED, "the key's sandbox was deleted within the hour", 9
)

# --- failures of the upstream --------------------------------------------------------------------------------------
SANDBOX_UNREACHABLE: Final = Reason(
    "sandbox_unreachable",
    "SU",
    Side.UPSTREAM,
    503,
    "connection_refused",
    "no destination of the sandbox's route answers",
)
SANDBOX_TIMEOUT: Final = Reason(
    "sandbox_unreachable", "ST", Side.UPSTREAM, 504, "connection_timeout", "connecting to the sandbox took too long"
)
BASELINE_UNREACHABLE: Final = Reason(
    "baseline_unreachable", "BU", Side.UPSTREAM, 503, "connection_refused", "the baseline does not answer"
)
BASELINE_TIMEOUT: Final = Reason(
    "baseline_unreachable", "BT", Side.UPSTREAM, 504, "connection_timeout", "connecting to the baseline took too long"
)
UPSTREAM_CLOSED: Final = Reason(
    "upstream_closed", "UC", Side.UPSTREAM, 502, "connection_terminated", "the upstream closed before a response head"
)
UPSTREAM_INVALID: Final = Reason(
    "upstream_invalid", "UI", Side.UPSTREAM, 502, "http_protocol_error", "the upstream's answer is not valid HTTP"
)
UPSTREAM_HEAD_TOO_LARGE: Final = Reason(
    "upstream_head_too_large",
    "UL",
    Side.UPSTREAM,
    502,
    "http_response_header_section_size",
    "the upstream's response head exceeds the limit",
)
UPSTREAM_TIMEOUT: Final = Reason(
    "upstream_timeout", "UT", Side.UPSTREAM, 504, "http_response_timeout", "no response head within the limit", 4
)
UPSTREAM_TRUNCATED: Final = Reason(
    "upstream_truncated",
    "UX",
    Side.UPSTREAM,
    0,
    "http_response_incomplete",
    "the upstream broke off after its response head; the downstream was reset or closed",
)
UPSTREAM_REFUSED: Final = Reason(
    "upstream_refused",
    "UR",
    Side.UPSTREAM,
    503,
    "connection_terminated",
    "the upstream takes no more requests (HTTP/2)",
)
UPGRADE_REFUSED: Final = Reason(
    "upgrade_refused", "UG", Side.UPSTREAM, 502, "http_upgrade_failed", "the upstream's HTTP/2 has no extended CONNECT"
)
DESTINATION_REFUSED: Final = Reason(
    "destination_refused",
    "DR",
    Side.UPSTREAM,
    503,
    "destination_ip_prohibited",
    "the destination's address is one that is never connected to",
)
OUT_OF_FILES: Final = Reason(
    "out_of_files", "OF", Side.INTERNAL, 503, "connection_limit_reached", "no more files may be open (ulimit -Hn)", 8
)

# --- failures of the downstream ------------------------------------------------------------------------------------
BAD_REQUEST: Final = Reason("bad_request", "BR", Side.DOWNSTREAM, 400, "http_request_error", "not a valid request", 13)
URI_TOO_LONG: Final = Reason(
    "uri_too_long", "TL", Side.DOWNSTREAM, 414, "http_request_error", "the target is too long", 13
)
HEAD_TOO_LARGE: Final = Reason(
    "head_too_large",
    "HL",
    Side.DOWNSTREAM,
    431,
    "http_request_error",
    "the head exceeds the limit of bytes or fields",
    8,
)
METHOD_NOT_ALLOWED: Final = Reason(
    "method_not_allowed", "MN", Side.DOWNSTREAM, 405, "http_request_error", "CONNECT is not served", 13
)
CODING_NOT_IMPLEMENTED: Final = Reason(
    "coding_not_implemented", "CN", Side.DOWNSTREAM, 501, "http_request_error", "an unknown transfer coding", 13
)
VERSION_NOT_SUPPORTED: Final = Reason(
    "version_not_supported", "VN", Side.DOWNSTREAM, 505, "http_request_error", "an HTTP version that is not served", 13
)
DOWNSTREAM_CLOSED: Final = Reason(
    "downstream_closed",
    "DC",
    Side.DOWNSTREAM,
    0,
    "connection_terminated",
    "the downstream left before the response ended",
    1,
)
CONNECTION_LIMIT: Final = Reason(
    "connection_limit", "CL", Side.DOWNSTREAM, 503, "connection_limit_reached", "too many downstream connections", 8
)
REQUEST_TIMEOUT: Final = Reason(
    "request_timeout", "RT", Side.DOWNSTREAM, 408, "http_request_error", "the request head took too long", 4
)
STREAM_TIMEOUT: Final = Reason(
    "stream_timeout", "SI", Side.INTERNAL, 0, "connection_read_timeout", "neither side moved within the limit", 4
)
ROUTE_REMOVED: Final = Reason(
    "route_removed",
    "RR",
    Side.INTERNAL,
    0,
    "destination_unavailable",
    "a tunnel ended because its route left the table",
)
DRAINED: Final = Reason(
    "drained", "DN", Side.INTERNAL, 0, "destination_unavailable", "cut off because the drain's time limit passed"
)
INTERNAL_ERROR: Final = Reason(
    "internal_error", "IE", Side.INTERNAL, 500, "proxy_internal_error", "a fault of the proxy", 13
)

REASONS: Final[tuple[Reason, ...]] = tuple(value for value in list(globals().values()) if isinstance(value, Reason))


class ProtocolError(Exception):
    """A peer broke the rules of its protocol; `reason` says how it is answered, the text says what was wrong."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text
