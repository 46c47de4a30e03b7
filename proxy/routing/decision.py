"""Where a request goes and why: the table of SPEC 4, row by row, in its order.

Decisions are shared and prebuilt: requests that are decided alike get the same object, for as long as the table lives
(constants: for ever), so a routed request allocates nothing and counters are bound to the object. Only rare cases are
made anew: a port that is not mapped, an ambiguous request. What happens after a decision (a destination that does not
answer, the opt-out for it) is not decided here.

    loop > ambiguous and strict > no key > invalid key > not synced > route > gone route > not forked > gone > unknown

No case falls from a live key's route to the baseline: a port that is not mapped and a route without destinations are
answered with 503.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.errors import (
    AMBIGUOUS_KEY,
    CALLER_NOT_ALLOWED,
    GONE_KEY,
    GONE_ROUTE,
    INVALID_KEY,
    LOOP,
    NO_KEY,
    NOT_CAPTURED,
    NOT_FORKED,
    NOT_LOCAL,
    NOT_SYNCED,
    STRICT_STATUS,
    UNKNOWN_HOST,
    UNKNOWN_KEY,
    Reason,
)
from proxy.routing.names import Endpoint, Workload

if TYPE_CHECKING:
    from proxy.routing.key import KeyReading
    from proxy.routing.table import Mapping
    from proxy.routing.view import WorkloadView


# The HTTP version in which a request goes upstream.
AS_IT_CAME: Final = 0
HTTP1: Final = 1
HTTP2: Final = 2
# By what a mapping's appProtocol (SPEC 5) or `--baseline-protocol` says.
VERSIONS: Final = {None: AS_IT_CAME, "auto": AS_IT_CAME, "http": HTTP1, "http2": HTTP2, "grpc": HTTP2}


class Decision:
    """One outcome. Compared by identity, never by value.

    `status` is 0 where the request is forwarded, else the status of our own answer. A sandbox is named wherever the
    request belongs to one, refused or not; `mapping` is there wherever its route maps the port. What a request needs of
    it stands here too: with 100,000 routes each object that is looked at costs an access to main memory.

    `series` belongs to whoever counts requests.
    """

    __slots__ = (
        "destinations",
        "kind",
        "mapping",
        "note",
        "reason",
        "rewrites_host",
        "sandbox",
        "series",
        "status",
        "version",
    )

    # A plain class: a view of 100,000 routes makes as many decisions, and frozen dataclasses take four times as long.
    def __init__(
        self,
        reason: Reason,
        kind: str,
        sandbox: str | None,
        mapping: Mapping | None,
        status: int,
        note: Reason | None = None,
    ) -> None:
        self.reason: Final = reason
        self.kind: Final = kind  # sandbox, baseline, none
        self.sandbox: Final = sandbox
        self.mapping: Final = mapping
        self.status: Final = status
        self.note: Final = note  # AMBIGUOUS_KEY, or None
        self.destinations: Final[tuple[Endpoint, ...]] = mapping.destinations if mapping is not None else ()
        self.rewrites_host: Final = mapping is not None and mapping.authority == "destination"
        self.version: Final = VERSIONS[mapping.app_protocol] if mapping is not None else AS_IT_CAME
        self.series: object = None

    def noted(self) -> Decision:
        """The same for an ambiguous request."""
        return Decision(self.reason, self.kind, self.sandbox, self.mapping, self.status, AMBIGUOUS_KEY)

    def __repr__(self) -> str:
        return f"Decision({decision_text(self.kind, self.sandbox, self.reason, self.note)}; status={self.status})"


def decision_text(kind: str, sandbox: str | None, reason: Reason, note: Reason | None = None) -> str:
    """The value of `pointsman-decision` (SPEC 4). `none`: the request went nowhere."""
    place = f"sandbox={sandbox}" if kind == "sandbox" else kind
    return f"{place}; reason={reason}" + (f"; note={note}" if note is not None else "")


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator chose. By default an unknown key is the baseline's (counted) and a gone key is refused."""

    unknown_key_rejects: bool = False
    gone_key_rejects: bool = True


class Decider:
    """Decides for one workload. `router`: a router refuses requests that it sent to the baseline itself, too."""

    __slots__ = (
        "_gone_key",
        "_gone_route",
        "_invalid_key",
        "_me",
        "_no_key",
        "_noted",
        "_router",
        "_unknown_key",
        "policy",
        "workload",
    )

    def __init__(self, workload: Workload, policy: Policy, *, router: bool = False) -> None:
        self.workload: Final = workload
        self.policy: Final = policy
        self._me: Final = str(workload).encode("ascii")
        self._router: Final = router
        # Pairs, indexed by "is the request strict?".
        self._no_key: Final = (_NO_KEY, _STRICT_NO_KEY)
        self._invalid_key: Final = (_INVALID_KEY, _STRICT_INVALID_KEY)
        self._gone_route: Final = (_GONE_ROUTE, _STRICT_GONE_ROUTE)
        self._gone_key: Final = (_GONE_KEY if policy.gone_key_rejects else _GONE_KEY_BASELINE, _GONE_KEY)
        self._unknown_key: Final = (
            _STRICT_UNKNOWN_KEY if policy.unknown_key_rejects else _UNKNOWN_KEY,
            _STRICT_UNKNOWN_KEY,
        )

    def decide(self, reading: KeyReading, view: WorkloadView | None, port: int, hops: Sequence[bytes] = ()) -> Decision:
        """The decision for a request at the workload's `port`; `view` None: no table received yet.

        `hops` are the raw values of the request's `pointsman-hop` fields. Spec: SPEC 4. Cost of a routed request: one
        lookup, no allocation.
        """
        if hops and self.is_loop(hops):
            return _LOOP
        if reading.ambiguous:
            return self._decide_ambiguous(reading, view, port)
        key = reading.key
        if key is None:
            return (self._invalid_key if reading.invalid else self._no_key)[reading.strict]
        if view is None:
            return NOT_SYNCED_DECISION
        known = view.routes.get(key)
        if known is not None:
            return known if known.port == port else known.for_other_port(port)
        return self._decide_unrouted(key, view)[reading.strict]

    def is_loop(self, hops: Iterable[bytes]) -> bool:
        """Whether the request met this workload's proxy before. Spec: SPEC 4, `pointsman-hop`.

        A sidecar counts only the hop that a sandbox route wrote. The suffix `;baseline` means that a router sent the
        request here, as it should.
        """
        for line in hops:
            for member in line.split(b","):
                hop, semicolon, _ = member.partition(b";")
                if hop.strip(b" \t") == self._me and (self._router or not semicolon):
                    return True
        return False

    def _decide_unrouted(self, key: bytes, view: WorkloadView) -> tuple[Decision, Decision]:
        """The decision for a key without a route, and the one if the request is strict."""
        name = view.name_of(key)
        if name in view.live:
            return self._gone_route if view.has_lost_route(key) else _NOT_FORKED_PAIR
        if name in view.gone or name in view.remembered:
            return self._gone_key
        return self._unknown_key

    def _decide_ambiguous(self, reading: KeyReading, view: WorkloadView | None, port: int) -> Decision:
        """Two different values: refused if strict, else decided by the one that counts, with a note."""
        if reading.strict:
            return _STRICT_AMBIGUOUS
        key = reading.key
        if key is None:
            return _NOTED[self._invalid_key[False]]
        if view is None:
            return _NOTED[NOT_SYNCED_DECISION]
        known = view.routes.get(key)
        if known is not None:
            return (known if known.port == port else known.for_other_port(port)).noted()
        return _NOTED[self._decide_unrouted(key, view)[False]]


def _to_baseline(reason: Reason) -> Decision:
    return Decision(reason, "baseline", None, None, 0)


def _refusal(reason: Reason, status: int) -> Decision:
    return Decision(reason, "none", None, None, status)


_LOOP: Final = _refusal(LOOP, LOOP.status)
NOT_SYNCED_DECISION: Final = _refusal(NOT_SYNCED, NOT_SYNCED.status)
UNKNOWN_HOST_DECISION: Final = _refusal(UNKNOWN_HOST, UNKNOWN_HOST.status)
NOT_CAPTURED_DECISION: Final = _refusal(NOT_CAPTURED, NOT_CAPTURED.status)
NOT_LOCAL_DECISION: Final = _refusal(NOT_LOCAL, NOT_LOCAL.status)
CALLER_DECISION: Final = _refusal(CALLER_NOT_ALLOWED, CALLER_NOT_ALLOWED.status)
_NO_KEY: Final = _to_baseline(NO_KEY)
_INVALID_KEY: Final = _to_baseline(INVALID_KEY)
_GONE_ROUTE: Final = _to_baseline(GONE_ROUTE)
_NOT_FORKED: Final = _to_baseline(NOT_FORKED)
_GONE_KEY: Final = _refusal(GONE_KEY, GONE_KEY.status)
_GONE_KEY_BASELINE: Final = _to_baseline(GONE_KEY)
_UNKNOWN_KEY: Final = _to_baseline(UNKNOWN_KEY)

_STRICT_AMBIGUOUS: Final = _refusal(AMBIGUOUS_KEY, STRICT_STATUS)
_STRICT_NO_KEY: Final = _refusal(NO_KEY, STRICT_STATUS)
_STRICT_INVALID_KEY: Final = _refusal(INVALID_KEY, STRICT_STATUS)
_STRICT_GONE_ROUTE: Final = _refusal(GONE_ROUTE, STRICT_STATUS)
_STRICT_UNKNOWN_KEY: Final = _refusal(UNKNOWN_KEY, STRICT_STATUS)

_NOT_FORKED_PAIR: Final = (_NOT_FORKED, _NOT_FORKED)  # strict or not: that sandbox does not fork this service

_NOTED: Final = {
    decision: decision.noted()
    for decision in (
        NOT_SYNCED_DECISION,
        _INVALID_KEY,
        _GONE_ROUTE,
        _NOT_FORKED,
        _GONE_KEY,
        _GONE_KEY_BASELINE,
        _UNKNOWN_KEY,
        _STRICT_UNKNOWN_KEY,
    )
}
