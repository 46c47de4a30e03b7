"""The smallest mesh with rules for sandboxes: a service, its VirtualService, an Envoy that answers what it decided.

The rules are as the renderer's, without an owner's routes between them: what is tried here is the matches. A real Envoy
decides, and beside it the proxy's own reading and decision, in this process.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.istio.matches import HeaderMatch, any_key_matches, key_matches
from proxy.routing.decision import Decider, Decision, Policy
from proxy.routing.key import KeyReader, KeySettings
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import Mapping, Route, RoutingTable
from tests.support.istiod import Caller, Features, Service, naming, route_configuration, run_mesh
from tests.support.keyheaders import Headers
from tests.support.pipelined import answers

ME = Workload("hotrod", "Deployment", "location")
PORT = 80
KEYS = ("qwblp48fpmb30", "a", "A.b-c_d", "k" * 63, "a." * 31 + "b", "0-0")
# What an Envoy does that is older (`controller.istio.matches`), or whose mesh holds it back.
JOINED = {"match_headers_individually": False}
UTF8 = {"re2_use_latin1_mode": False}
ROUTER = "router"
BASELINE = "baseline"

_HOST = "location.hotrod.svc.cluster.local"


@dataclass(frozen=True)
class Case:
    """A request's routing fields."""

    headers: Headers
    hops: tuple[bytes, ...] = ()
    more: tuple[tuple[bytes, bytes], ...] = ()

    def fields(self) -> list[tuple[bytes, bytes]]:
        return [*self.headers.fields(), *((b"pointsman-hop", hop) for hop in self.hops), *self.more]


class Mesh:
    """An Envoy with these rules."""

    def __init__(self, port: int) -> None:
        self._port = port

    def decisions(self, cases: Sequence[Case]) -> list[str]:
        """Where each request goes: a key (its sandbox), ROUTER or BASELINE."""
        found = answers(self._port, b"location", [case.fields() for case in cases])
        assert {status for status, _ in found} <= {200}
        return [
            body.decode("ascii").rpartition("|")[2].partition(".svc")[0].removesuffix(".hotrod") for _, body in found
        ]


def rules(keys: Sequence[str], form: str) -> list[dict[str, Any]]:
    """A rule for each key."""
    return [_rule(key_matches(key, form), f"fork-{number}") for number, key in enumerate(keys)]


def loose_place(headers: Headers) -> str:
    """Where rules of the loose form send a request, by their model: Python's engine with SPEC 8's words. The first rule
    that a line of one of the two headers fits has it."""
    for number, expression in enumerate(_LOOSE):
        if any(expression.fullmatch(line) for lines in headers for line in lines):
            return f"fork-{number}"
    return BASELINE


_LOOSE = [re.compile(rf"^.*\b(sd-routing-key|sd-sandbox)\s*=[^,]*\b{re.escape(key)}\b.*$".encode()) for key in KEYS]


def fan_in() -> list[dict[str, Any]]:
    """One for all keys."""
    return [_rule(any_key_matches(ME), ROUTER)]


def _rule(alternatives: Sequence[HeaderMatch], host: str) -> dict[str, Any]:
    return {"match": [one.document() for one in alternatives], "route": [{"destination": {"host": host}}]}


@contextlib.contextmanager
def run_rules(folder: Path, found: Sequence[dict[str, Any]], features: Features | None = None) -> Iterator[Mesh]:
    """Skips where there is no Envoy."""
    virtual_service = {
        "metadata": {"name": "location", "namespace": "hotrod"},
        "spec": {"hosts": ["location"], "http": [*found, {"route": [{"destination": {"host": BASELINE}}]}]},
    }
    configuration = route_configuration([virtual_service], [Service(_HOST, (PORT,))], PORT, Caller("hotrod"))
    with run_mesh(folder, [naming(configuration)], features=features) as (port,):
        yield Mesh(port)


class Ours:
    """The proxy's reading and decision, with a route for each key."""

    def __init__(
        self, keys: Sequence[str] = KEYS, *, gone: Sequence[bytes] = (), header: str | None = None, router: bool = False
    ) -> None:
        self._keys = list(keys)
        self.reader = KeyReader(KeySettings(headers=(header.encode("ascii"),) if header else ()))
        self._decider = Decider(ME, Policy(), router=router)
        table = RoutingTable("1", [_route(key, number) for number, key in enumerate(keys)], gone_keys=gone)
        self._view = table.view(ME)

    def key(self, case: Case) -> str | None:
        return case.headers.key(self.reader)

    def place(self, case: Case) -> str:
        """Where its key leads: what a rule can say. (A strict request without one is refused, by the proxy alone.)"""
        key = self.key(case)
        return f"fork-{self._keys.index(key)}" if key in self._keys else BASELINE

    def decision(self, case: Case) -> Decision:
        reading = self.reader.read(case.headers.baggage, case.headers.tracestate, case.more)
        return self._decider.decide(reading, self._view, 8081, case.hops)


def _route(key: str, number: int) -> Route:
    return Route(key, f"pr-{number}", ME, (Mapping(8081, None, "preserve", (Endpoint(f"fork-{number}", 8081),)),))
