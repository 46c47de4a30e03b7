"""Each answer against what the tables of its time allow. Whatever is wrong is kept, with the tables concerned.

    An answer of a place      what a table in force made of the request: the place, the decision that says so, the whole
                              body with the request's own id, over a connection no older than the place's last absence
    An answer of the proxy    what a table in force refuses, or the failure of a place that was ill meanwhile
    A part of an answer       only from a place that was ill meanwhile; a gRPC call's has a status, or is a reset
    Nothing                   never

"Unreachable" takes every destination of one table's route to have been ill. What may not be sent twice was not.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable

from tests.soak.asking import Asked, sum_of
from tests.soak.books import Books
from tests.soak.history import History
from tests.soak.model import BASELINE, Outcome
from tests.soak.peer import Got
from tests.soak.places import Place
from tests.soak.statuses import FAILURES, REFUSALS, fault_of_end, fault_of_status, status_of

_KEPT_VIOLATIONS = 5
_PROXY_STATUS = re.compile(r'pointsman; error=([a-z_]+); details="([a-z_]+)(?:: (.*))?"')
# What of a request's body the proxy keeps for another try (README, "What is forwarded").
_REPLAYED_BYTES = 65536


class Judge:
    def __init__(self, history: History, books: Books, places: Iterable[Place]) -> None:
        self.history = history
        self._books = books
        self._places = {place.name: place for place in places}
        self.began_s = time.monotonic()
        self.asked: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.violations: list[str] = []
        self.violation_count = 0
        self._once: set[str] = set()  # ids that may have been executed once at most
        self._never: set[str] = set()  # ids that no place may have seen whole

    # --- keeping ---

    def violation(self, text: str, details: Iterable[str] = ()) -> None:
        self.violation_count += 1
        if len(self.violations) < _KEPT_VIOLATIONS:
            now_s = time.monotonic()
            self.violations.append(
                "\n    ".join([f"at {now_s:.4f}, {now_s - self.began_s:.1f} s on: {text}", *details])
            )

    @property
    def is_full(self) -> bool:
        """It would keep no more violations: going on tells nothing new."""
        return self.violation_count >= _KEPT_VIOLATIONS

    def never_executed(self, ident: str) -> None:
        """No place may see that request whole, now or later."""
        self._never.add(ident)

    def expects(self, asked: Asked) -> None:
        """The request is about to be sent."""
        asked.start_s = time.monotonic()
        self.asked[asked.kind] += 1
        self.leaves(asked)

    def leaves(self, asked: Asked) -> None:
        """The same, from somebody who does not wait for the answer."""
        if asked.method == "POST":
            self._once.add(asked.ident)

    def close_books(self) -> None:
        """At the end of all: what no single answer shows."""
        for ident in self._once:
            record = self._books.records.get(ident)
            if record is not None and record.heads > 1:
                self.violation(f"{ident}: executed {record.heads} times: {record}")
        for ident in self._never:
            record = self._books.records.get(ident)
            if record is not None and record.whole:
                self.violation(f"{ident}: executed, though not all sent, or after the connection's end: {record}")
        for fault in self._books.faults:
            self.violation(fault)

    # --- one answer ---

    def answered(self, asked: Asked, got: Got) -> None:
        end_s = time.monotonic()
        outcomes = self.history.outcomes(asked.wish, asked.start_s, end_s)
        fault = self._fault(asked, got, outcomes, end_s)
        if fault:
            self._accuse(asked, got, outcomes, end_s, fault)

    def _accuse(self, asked: Asked, got: Got, outcomes: list[Outcome], end_s: float, fault: str) -> None:
        details = [
            f"{asked.ident} {asked.method} {asked.wish} from {asked.start_s:.4f} to {end_s:.4f}",
            f"head: {asked.head!r}",
            f"got: {got.told()}",
            f"record: {self._books.records.get(asked.ident)}",
            *(f"allowed: {outcome}" for outcome in outcomes),
            *self.history.told(asked.wish.key, outcomes, asked.start_s, end_s),
        ]
        self.violation(f"{asked.kind}: {fault}", details)

    def _fault(self, asked: Asked, got: Got, outcomes: list[Outcome], end_s: float) -> str:
        """What is wrong with the answer; empty if nothing is."""
        if not got.status:
            return f"no answer: {got.error}"
        if got.value(b"proxy-status"):
            return self._fault_of_own(asked, got, outcomes, end_s)
        return self._fault_of_forwarded(asked, got, outcomes, end_s)

    def _fault_of_forwarded(self, asked: Asked, got: Got, outcomes: list[Outcome], end_s: float) -> str:
        place, decision = got.value(b"x-place"), got.value(b"pointsman-decision")
        if asked.wish.strict and place == BASELINE and decision != "baseline; reason=not_forked":
            return "a strict request got the baseline"
        if not any(place in outcome.places and decision == outcome.decision for outcome in outcomes):
            return f"no table of its time leads it to {place!r} with {decision!r}"
        if got.status not in (200, 101):
            return f"status {got.status}"
        if got.value(b"x-id") != asked.ident:
            return f"the answer to {got.value(b'x-id')!r}"
        if got.status == 200 and got.body[: len(asked.body)] != asked.body[: len(got.body)]:
            return "another body"
        record = self._books.records.get(asked.ident)
        if record is None or record.place != place:
            return f"{place} says that it answered, but was not asked"
        if self.history.had_left_since(place, record.opened_s, asked.start_s):
            return f"it came over a connection of {record.opened_s:.4f}; the place has left the table since"
        if asked.baggage and record.baggage != asked.baggage:
            return f"the place saw the baggage {record.baggage!r} instead of {asked.baggage!r}"
        if got.value(b"x-upload") not in ("", sum_of(asked.upload)):
            return "the place saw another body of the request"
        if not any(place in each.places and (each.version or asked.version) == record.version for each in outcomes):
            return f"it went to {place} in HTTP/{record.version}"
        is_cut, fault = fault_of_end(got, asked)
        if fault:
            return fault
        if got.status == 200 and is_cut:
            self.outcomes["a part, cut off"] += 1
            return (
                ""
                if self.history.was_ill(place, asked.start_s, end_s)
                else "a part of an answer, of a place that was well"
            )
        if got.status == 200 and got.body != asked.body:
            return "a part of the body passed for whole"
        self.outcomes[f"{got.status} {decision.partition('; reason=')[2]}"] += 1
        return ""

    def _fault_of_own(self, asked: Asked, got: Got, outcomes: list[Outcome], end_s: float) -> str:
        match = _PROXY_STATUS.fullmatch(got.value(b"proxy-status"))
        if match is None:
            return "a Proxy-Status that README does not know"
        if not got.is_whole:
            return "a part of an answer of the proxy's own"
        error, reason, named = match.groups()
        status = status_of(got, asked, reason, error)
        if fault := fault_of_status(got, asked, status):
            return fault
        decision = got.value(b"pointsman-decision")
        self.outcomes[f"{status} {reason}"] += 1
        for outcome in outcomes:
            if (outcome.status, outcome.reason, outcome.decision) == (status, reason, decision):
                expected = REFUSALS.get(outcome.status) or REFUSALS[reason, outcome.status]
                if error != expected or (named or "") != outcome.sandbox:
                    return f"refused in other words, expected {expected}"
                if self._executed(asked):
                    return "refused, and forwarded all the same"
                return ""
        if FAILURES.get((reason, status)) != error:
            return "an answer that no table of its time gives, and no failure that README knows"
        candidates = [
            outcome for outcome in outcomes if outcome.places and decision == f"{outcome.named}; reason={reason}"
        ]
        if not any(self._names(outcome, named) for outcome in candidates):
            return f"a failure of what no table of its time leads to: {named}"
        return self._fault_of_failure(asked, reason, candidates, end_s)

    def _fault_of_failure(self, asked: Asked, reason: str, candidates: list[Outcome], end_s: float) -> str:
        def ill(place: str) -> bool:
            return self.history.was_ill(place, asked.start_s, end_s)

        if reason.endswith("_unreachable"):
            if self._executed(asked) and not asked.may_be_sent_twice:
                return "unreachable, but it was reached"
            may_fail = any(all(map(ill, outcome.places)) for outcome in candidates)
        else:
            if reason == "upstream_refused" and self._executed(asked) and not asked.may_be_sent_twice:
                return "refused unread, it says, but it was read"
            places = {place for outcome in candidates for place in outcome.places}
            may_fail = any(map(ill, places)) or (
                any(self._places[place].is_restless for place in places) and self._may_fail_restlessly(asked, reason)
            )
        return "" if may_fail else f"{reason}, but the places were well"

    def _may_fail_restlessly(self, asked: Asked, reason: str) -> bool:
        """Of a place that is well, but closes connections, or refuses streams, when it likes."""
        refused = self._books.refused[asked.ident]
        if reason == "upstream_closed":
            return not asked.may_be_sent_twice or refused > 0
        return reason == "upstream_refused" and (refused > 2 or (refused > 0 and len(asked.upload) > _REPLAYED_BYTES))

    def _executed(self, asked: Asked) -> bool:
        return asked.ident in self._books.records

    def _names(self, outcome: Outcome, named: str | None) -> bool:
        endpoints = [self._places[place].endpoint for place in outcome.places]
        return named in [f"{outcome.sandbox}, {endpoint}" if outcome.sandbox else endpoint for endpoint in endpoints]
