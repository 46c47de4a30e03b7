"""Tables that follow each other at random, with what the proxy must remember of those before.

Keys come, go, move to other places, are made unready, lose the port, live without a route, are listed as gone. One key
swings between two places that no other route leads to, so that each leaves the table and comes back again and again.
And one after another leads to a place that is never ill, for a few seconds, and then never again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from random import Random

import yaml

from tests.soak.model import Route, Table
from tests.support.proxy import PORT, WORKLOAD

SWING_KEY = "swing"
SWINGS = ("swing-a", "swing-b")
CALM = "calm"
_CALM_TABLES = 40
GONE_KEYS = tuple(f"gone{number}" for number in range(6))
_UNFORKED_KEYS = ("unforked0", "unforked1")
_OTHER_WORKLOAD = "hotrod/Deployment/driver"
_KEYS = 16
_FRESH_KEYS = 6


class Evolution:
    """`addresses`: host and port by place; `trap`: the place that no request may ever reach."""

    def __init__(
        self, rng: Random, addresses: Mapping[str, tuple[str, int]], places: tuple[str, ...], trap: str
    ) -> None:
        self._rng = rng
        self._addresses = addresses
        self._places = places
        self._trap = trap
        self._routes: dict[str, Route] = {}
        self._live: set[str] = set()  # keys without a route of ours
        self._listed_gone: set[str] = set()
        self._listed_gone_routes: set[str] = set()
        self._remembered: set[str] = set()
        self._remembered_routes: set[str] = set()
        self._old_live: set[str] = set()
        self._old_routes: set[str] = set()
        self._number = 0
        self._sandboxes = 0
        self._calm_until = 0
        self.keys = [f"key{number:02}" for number in range(_KEYS)]  # those to ask for
        for key in self.keys[: _KEYS - 4]:
            self._add(key)
        self.keys += _UNFORKED_KEYS
        self._routes[SWING_KEY] = Route("swinging", SWINGS[:1])
        self.calm_key = ""

    # --- the next table ---

    def step(self) -> Table:
        """A table that differs from the last one in a few things."""
        rng = self._rng
        for _ in range(rng.randint(1, 3)):
            rng.choice([self._come, self._come, self._go, self._move, self._move, self._change_lists])()
        if self._number % 3 == 0:
            self._swing()
        if self._number >= self._calm_until:
            self._replace_calm_key()
        if rng.random() < 0.05:
            self._freshen()
        return self._next()

    def step_that_may_be_skipped(self) -> Table:
        """A table after which the proxy remembers the same, whether it was in force or not."""
        for _ in range(3):
            self._move()
        return self._next()

    def _next(self) -> Table:
        self._number += 1
        live = self._live | self._routes.keys()
        self._remembered = (self._remembered | (self._old_live - live)) - live
        routes = self._routes.keys()
        self._remembered_routes = (self._remembered_routes | (self._old_routes - routes)) - routes
        self._old_live, self._old_routes = set(live), set(routes)
        fill = self._fill()
        table = Table(
            version=str(self._number),
            routes=dict(self._routes),
            live=frozenset(live),
            gone=frozenset(self._remembered | self._listed_gone),
            gone_routes=frozenset(self._remembered_routes | self._listed_gone_routes),
            text=self._text(self._document(self._number, fill)),
        )
        return table

    # --- what may happen ---

    def _add(self, key: str) -> None:
        self._sandboxes += 1
        self._live.discard(key)
        self._listed_gone_routes.discard(key)
        chance = self._rng.random()
        places = () if chance < 0.1 else self._some_places()
        self._routes[key] = Route(f"sandbox-{self._sandboxes}", places, not 0.1 < chance < 0.17, self._protocol())

    def _some_places(self) -> tuple[str, ...]:
        return tuple(self._rng.sample(self._places, 2 if self._rng.random() < 0.25 else 1))

    def _protocol(self) -> str:
        return self._rng.choice(["", "", "", "http", "http2", "grpc"])

    def _routed(self) -> list[str]:
        return [key for key in self._routes if key not in (SWING_KEY, self.calm_key)]

    def _come(self) -> None:
        absent = [key for key in self.keys if key not in self._routes]
        key = self._rng.choice(absent)
        if key in _UNFORKED_KEYS or self._rng.random() < 0.25:
            self._live.add(key)
        else:
            self._add(key)

    def _go(self) -> None:
        routed = self._routed()
        if len(routed) > 5:
            key = self._rng.choice(routed)
            del self._routes[key]
            if self._rng.random() < 0.4:
                self._live.add(key)
        if self._live and self._rng.random() < 0.5:
            key = self._rng.choice(sorted(self._live))
            self._live.discard(key)
            self._listed_gone_routes.discard(key)

    def _move(self) -> None:
        key = self._rng.choice(self._routed())
        old = self._routes[key]
        chance = self._rng.random()
        places = () if chance < 0.12 else self._some_places()
        self._routes[key] = Route(old.sandbox, places, chance < 0.95, self._protocol())

    def _change_lists(self) -> None:
        self._listed_gone ^= {self._rng.choice(GONE_KEYS)}
        if self._live and self._rng.random() < 0.3:
            self._listed_gone_routes ^= {self._rng.choice(sorted(self._live))}

    def _swing(self) -> None:
        (place,) = self._routes[SWING_KEY].places
        self._routes[SWING_KEY] = Route("swinging", (SWINGS[1 - SWINGS.index(place)],))

    def _replace_calm_key(self) -> None:
        self._routes.pop(self.calm_key, None)
        self.calm_key = f"{CALM}-{self._number}"
        self._routes[self.calm_key] = Route(self.calm_key, (CALM,))
        self._calm_until = self._number + _CALM_TABLES

    def _freshen(self) -> None:
        """A key that was never there; the oldest of those is asked for no more."""
        key = f"fresh{self._number}"
        self.keys.append(key)
        self._add(key)
        fresh = [key for key in self.keys if key.startswith("fresh")]
        if len(fresh) > _FRESH_KEYS:
            self.keys.remove(fresh[0])
            self._routes.pop(fresh[0], None)
            self._live.discard(fresh[0])
            self._listed_gone_routes.discard(fresh[0])

    # --- as a document ---

    def _fill(self) -> int:
        """So many routes that nobody asks for: tables of 60 are read in a thread, of 600 in a process of their own."""
        chance = self._rng.random()
        return 600 if chance < 0.01 else 60 if chance < 0.1 else 0

    def _document(self, number: int, fill: int) -> dict[str, object]:
        routes = [self._route(key, route) for key, route in self._routes.items()]
        routes += [self._route(f"fill{number}", Route("fill", (self._trap,))) for number in range(fill)]
        live: list[str] = []
        for key in sorted(self._live):
            if self._rng.random() < 0.5:
                live.append(key)
            else:
                routes.append(self._route(key, Route("elsewhere", (self._trap,)), _OTHER_WORKLOAD))
        self._rng.shuffle(routes)
        return {
            "apiVersion": "pointsman.dev/v1alpha1",
            "kind": "RoutingTable",
            "version": str(number),
            "routes": routes,
            "liveKeys": live,
            "goneKeys": sorted(self._listed_gone),
            "goneRoutes": [
                {"routingKey": key, "baseline": _workload(WORKLOAD)} for key in sorted(self._listed_gone_routes)
            ],
        }

    def _route(self, key: str, route: Route, workload: str = WORKLOAD) -> dict[str, object]:
        hosts = [dict(zip(("host", "port"), self._addresses[place], strict=True)) for place in route.places]
        port = PORT if route.is_mapped else PORT + 1
        mapping: dict[str, object] = {"port": port, "destinations": hosts}
        if route.protocol:
            mapping["appProtocol"] = route.protocol
        return {"routingKey": key, "sandbox": route.sandbox, "baseline": _workload(workload), "mappings": [mapping]}

    def _text(self, document: dict[str, object]) -> str:
        if self._rng.random() < 0.5:
            return json.dumps(document)
        return yaml.safe_dump(document)

    def invalid_text(self) -> str:
        """A file that must be refused whole. All its routes lead into the trap."""
        trap = Route("trap", (self._trap,))
        routes = [self._route(key, trap) for key in (*self.keys, SWING_KEY)]
        document = {**self._document(0, 0), "version": "invalid", "routes": routes, "liveKeys": [], "goneRoutes": []}
        match self._rng.randrange(5):
            case 0:
                return json.dumps(document)[:-20]
            case 1:
                routes.append(routes[0])
            case 2:
                routes.append({**self._route("late", trap), "mappings": [{"port": 99999, "destinations": []}]})
            case 3:
                document["kind"] = "Table"
            case _:
                routes.append(self._route("not a key", trap))
        return self._text(document)


def _workload(text: str) -> dict[str, str]:
    return dict(zip(("namespace", "kind", "name"), text.split("/"), strict=True))
