"""A routing table as the proxy must understand it, written down a second time: SPEC 4 for one workload and port."""

from __future__ import annotations

from dataclasses import dataclass, field

BASELINE = "baseline"
_VERSIONS = {"": "", "http": "1.1", "http2": "2", "grpc": "2"}


@dataclass(frozen=True, slots=True)
class Wish:
    """What of a request decides: no key, a value that is none, or a key; strict or not."""

    key: str | None = None
    is_invalid: bool = False
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a table makes of a request. `status` 0: forwarded to one of `places`."""

    kind: str  # sandbox, baseline, none
    reason: str
    status: int = 0
    places: tuple[str, ...] = ()
    sandbox: str = ""
    version: str = ""  # of HTTP, towards the place; empty: the one that the request came in

    @property
    def decision(self) -> str:
        return f"{self.named}; reason={self.reason}"

    @property
    def named(self) -> str:
        return f"sandbox={self.sandbox}" if self.kind == "sandbox" else self.kind


@dataclass(frozen=True, slots=True)
class Route:
    """One key's route. `is_mapped`: for the port that the proxy serves. `protocol`: appProtocol, or empty."""

    sandbox: str
    places: tuple[str, ...]
    is_mapped: bool = True
    protocol: str = ""


@dataclass(slots=True)
class Table:
    """One version. `gone` and `gone_routes` hold what the document lists and what the proxy remembers by itself."""

    version: str
    routes: dict[str, Route]
    live: frozenset[str]
    gone: frozenset[str]
    gone_routes: frozenset[str]
    text: str  # of the file
    written_s: float = 0.0  # not in force before
    confirmed_s: float | None = None  # in force by then, so none before it is; None: it may have been skipped
    places: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.places = frozenset(place for route in self.routes.values() for place in route.places)

    def outcome(self, wish: Wish) -> Outcome:
        key = wish.key
        if wish.is_invalid:
            return self._baseline("invalid_key", wish.strict)
        if key is None:
            return self._baseline("no_key", wish.strict)
        route = self.routes.get(key)
        if route is not None:
            if not route.is_mapped:
                return Outcome("sandbox", "port_not_mapped", 503, sandbox=route.sandbox)
            if not route.places:
                return Outcome("sandbox", "no_destination", 503, sandbox=route.sandbox)
            return Outcome("sandbox", "route", 0, route.places, route.sandbox, _VERSIONS[route.protocol])
        if key in self.live:
            if key in self.gone_routes:
                return self._baseline("gone_route", wish.strict)
            return self._baseline("not_forked", False)
        if key in self.gone:
            return Outcome("none", "gone_key", 424)
        return self._baseline("unknown_key", wish.strict)

    def _baseline(self, reason: str, is_refused: bool) -> Outcome:
        return Outcome("none", reason, 424) if is_refused else Outcome("baseline", reason, 0, (BASELINE,))

    def told(self, key: str | None) -> str:
        """What it says about a key, for people."""
        confirmed = "never" if self.confirmed_s is None else f"{self.confirmed_s:.4f}"
        state = [word for word, keys in (("live", self.live), ("gone", self.gone)) if key in keys]
        state += ["gone route"] if key in self.gone_routes else []
        route = self.routes.get(key) if key is not None else None
        return (
            f"table {self.version}: written {self.written_s:.4f} confirmed {confirmed}: {route or 'no route'} {state}"
        )
