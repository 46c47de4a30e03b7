"""Whose a message is: the routing rules of one workload, as a controller tells them, and what follows from them. Pure.

Consumers of one queue see the same messages, so each must take its own and no other's. All decide by one function of
the message's key and the rules of their workload:

- no key: the baseline's.
- a rule for the key: that sandbox's, whether it runs or not. A dead sandbox is never silently the baseline.
- no rule for the key: the baseline's.

So with the same rules, exactly one takes a message. The baseline also gets what is left of a sandbox that was deleted
(`gone_route`) and what asked to be strict and has no rule: these are its own to deal with, but not to process, since a
test would take it for the sandbox's work (`is_refused`; over HTTP they are answered with 424).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from proxy.routing.gone import GONE_S
from proxy.routing.key import DEFAULT_NAMES, NO_READING, KeyReader, KeyReading, KeySettings
from proxy.routing.names import Workload, is_routing_key

_MAX_GONE: Final = 100_000

HeaderValue = str | bytes | Sequence[str] | Sequence[bytes]
Headers = Mapping[str, HeaderValue] | Iterable[tuple[str, str | bytes]]


class RuleError(Exception):
    """What the controller sent is no rule."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Messages with this key are this sandbox's."""

    key: bytes
    sandbox: str


def read_rule(document: object, workload: Workload) -> Rule | None:
    """The rule, if it is of this workload.

    Raises: RuleError.
    """
    try:
        assert isinstance(document, dict)
        baseline = document["baseline"]
        key, sandbox = document["routingKey"], document["destinationSandbox"]["name"]
        of = Workload(baseline["namespace"], baseline["kind"], baseline["name"])
        assert isinstance(key, str)
        assert isinstance(sandbox, str)
        return Rule(key.encode(), sandbox) if of == workload else None
    except (AssertionError, KeyError, TypeError) as error:
        raise RuleError(f"is no routing rule: {error!r}") from None


class Rules:
    """The rules of one workload as last heard. `begin` and `synced` frame what a new stream says first: until then, the
    rules from before hold."""

    def __init__(self, workload: Workload) -> None:
        self.workload: Final = workload
        self.is_synced = False
        self._by_key: dict[bytes, Rule] = {}
        self._gone: dict[bytes, float] = {}  # key -> until when; oldest first
        self._fresh: dict[bytes, Rule] | None = None

    def begin(self) -> None:
        self._fresh = {}

    def take(self, event: object, now_s: float) -> None:
        """One event of the stream: ADD, REPLACE, REMOVE or SYNCED. Others are ignored.

        Raises: RuleError.
        """
        if not isinstance(event, dict):
            raise RuleError("is no event")
        type_ = event.get("type")
        if type_ == "SYNCED":
            self._synced(now_s)
        elif type_ in ("ADD", "REPLACE", "REMOVE"):
            rule = read_rule(event.get("routingRule"), self.workload)
            if rule is None:
                return
            rules = self._fresh if self._fresh is not None else self._by_key
            if type_ == "REMOVE":
                if rules.pop(rule.key, None) is not None and rules is self._by_key:
                    self._leave(rule.key, now_s)
            else:
                rules[rule.key] = rule
                if rules is self._by_key:
                    self._gone.pop(rule.key, None)

    def _synced(self, now_s: float) -> None:
        if self._fresh is None:
            return
        before, self._by_key, self._fresh = self._by_key, self._fresh, None
        for key in before.keys() - self._by_key.keys():
            self._leave(key, now_s)
        for key in self._gone.keys() & self._by_key.keys():
            del self._gone[key]
        self.is_synced = True

    def _leave(self, key: bytes, now_s: float) -> None:
        self._gone.pop(key, None)
        self._gone[key] = now_s + GONE_S
        while self._gone and (len(self._gone) > _MAX_GONE or next(iter(self._gone.values())) <= now_s):
            del self._gone[next(iter(self._gone))]

    @property
    def is_syncing(self) -> bool:
        """Whether a new stream has not said all yet."""
        return self._fresh is not None

    def __len__(self) -> int:
        return len(self._by_key)

    def rule(self, key: bytes) -> Rule | None:
        return self._by_key.get(key)

    def is_gone(self, key: bytes, now_s: float) -> bool:
        """Whether there was a rule for it within the hour, as far as was heard here."""
        return self._gone.get(key, now_s) > now_s


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a consumer takes a message, and why.

    `reason`: `no_key`, `invalid_key`, `route`, `gone_route`, `no_route`. `sandbox`: whose it is, None: the baseline's.
    `is_refused`: whoever takes it must not process it but put it aside, where a test sees it fail.
    """

    takes: bool
    reason: str
    key: str | None = None
    sandbox: str | None = None
    is_refused: bool = False


def decide(reading: KeyReading, rule: Rule | None, *, is_gone: bool, consumer: str | None) -> Decision:
    """The decision of a consumer: the sandbox of this name, or the baseline."""
    is_baseline = consumer is None
    if reading.key is None:
        reason = "invalid_key" if reading.invalid else "no_key"
        return Decision(is_baseline, reason, is_refused=reading.strict)
    key = reading.key.decode()
    if rule is not None:
        return Decision(rule.sandbox == consumer, "route", key, rule.sandbox, reading.strict and reading.ambiguous)
    return Decision(is_baseline, "gone_route" if is_gone else "no_route", key, None, is_gone or reading.strict)


class MessageReader:
    """Finds the key in a message's headers as the proxies find it in a request's. Spec: SPEC 3."""

    def __init__(self, names: Sequence[bytes] = DEFAULT_NAMES, headers: Sequence[bytes] = ()) -> None:
        """Raises: ValueError if a name is none."""
        self._reader: Final = KeyReader(KeySettings(tuple(names), tuple(headers)))

    def read(self, headers: Headers) -> KeyReading:
        lines: dict[str, list[bytes]] = {"baggage": [], "tracestate": []}
        key_fields: list[tuple[bytes, bytes]] = []
        for name, value in headers.items() if isinstance(headers, Mapping) else headers:
            lower = name.lower()
            for text in [value] if isinstance(value, str | bytes) else value:
                raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
                if lower in lines:
                    lines[lower].append(raw)
                else:
                    key_fields.append((lower.encode("utf-8", "surrogateescape"), raw))
        return self._reader.read(lines["baggage"], lines["tracestate"], key_fields)

    def of_key(self, key: str | bytes | None) -> KeyReading:
        """The reading of a message whose key is known already."""
        if key is None:
            return NO_READING
        raw = key if isinstance(key, bytes) else key.encode("utf-8", "surrogateescape")
        is_key = is_routing_key(raw)
        return KeyReading(raw if is_key else None, not is_key, False, False, None, None, raw)
