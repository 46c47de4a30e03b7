"""The admin pages of one process: `/livez /readyz /metrics /table /explain /probe /drain` (SPEC 6).

With several workers the supervisor has these pages (`proxy.workers.pages`), and asks here for what workers alone know.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from proxy.adminpages import DRAINING, field, path_and_query, readiness, refusal
from proxy.admintokens import AdminTokens
from proxy.codec.events import RequestHead
from proxy.modes import BadQuestion
from proxy.net.http_server import Answer
from proxy.places import Place, PreviewPlaces
from proxy.routing.decision import Decision
from proxy.routing.key import KeyReader
from proxy.routing.table import Route, Service
from proxy.tables import Holder
from proxy.telemetry.exposition import Exposition
from proxy.telemetry.probes import Probes

_JSON: Final = "application/json"
_ROUTES_PER_PIECE: Final = 200


@dataclass(frozen=True, slots=True)
class Admin:
    """Answers admin requests."""

    tables: Holder
    arrival: Callable[[bytes, str | None], Place | Decision]
    by_host: bool
    exposition: Exposition
    reader: KeyReader
    why_not_ready: Callable[[], str | None]
    start_drain: Callable[[], None]
    previews: Callable[[], PreviewPlaces | None] = lambda: None
    admin_tokens: AdminTokens | None = None
    about: Mapping[str, object] | None = None
    probes: Probes | None = None

    def answer(self, head: RequestHead, body: bytes) -> Answer:
        """What a request on the admin address gets."""
        return refusal(head, self.admin_tokens) or self.page(head, body)

    def page(self, head: RequestHead, body: bytes) -> Answer:
        """The page of a request that may have it."""
        path, query = path_and_query(head)
        match path:
            case "/livez":
                return Answer(200, b"ok\n")
            case "/readyz":
                return readiness(self.why_not_ready())
            case "/metrics":
                text, media_type = self.exposition.text(field(head, b"accept").decode("latin-1"))
                return Answer(200, text, media_type)
            case "/table":
                return self.table()
            case "/explain":
                return self.explain(query, body)
            case "/probe":
                return self.probe(body)
            case "/drain":
                self.start_drain()
                return DRAINING
            case _:
                raise AssertionError(path)  # `adminpages` knows a page that is not here

    def table(self, beside: Mapping[str, object] | None = None) -> Answer:
        """`beside`: what stands beside this process's own state."""
        return Answer(
            200, media_type=_JSON, pieces=_table_pieces(self.tables, {"proxy": self.about or {}, **(beside or {})})
        )

    def probe(self, body: bytes) -> Answer:
        """What is known of a marked request (`telemetry.probes`)."""
        if self.probes is None:
            return Answer(404, b"nobody notes requests here\n")
        try:
            return Answer(200, json.dumps(self.probes.ask(body)).encode() + b"\n", _JSON)
        except ValueError as error:
            return Answer(400, f"{error}\n".encode())

    def explain(self, query: str, body: bytes) -> Answer:
        """The decision for the request head in the body: with or without its request line, or with HTTP/2's
        pseudo-headers; any line ends."""
        # Imported here: together a tenth of the start time, for a page that is asked for rarely.
        from urllib.parse import parse_qs

        from proxy.explaining import explain_at
        from proxy.routing.explain import head_authority, head_fields

        options = parse_qs(query)
        fields = head_fields(body)
        if isinstance(fields, int):
            return Answer(400, f"line {fields} of the head has no colon\n".encode())
        host = head_authority(body)
        try:
            place = self.arrival(host, options.get("port", [None])[0])
        except BadQuestion as error:
            return Answer(400, f"{error}\n".encode())
        version = self.tables.current.version if self.tables.current is not None else None
        explanation = explain_at(place, fields, self.reader, host if self.by_host else None, self.previews(), version)
        if options.get("format") == ["text"]:
            return Answer(200, explanation.to_text().encode())
        return Answer(200, json.dumps(explanation.to_dict(), indent=2).encode() + b"\n", _JSON)


def _table_pieces(tables: Holder, beside: Mapping[str, object]) -> Iterator[bytes]:
    """SPEC 6's `/table`: the state, then the document's parts, a few hundred routes at a time."""
    table = tables.current
    state = json.dumps({**tables.state(), **beside})
    yield state[:-1].encode()
    yield b', "routes": ['
    if table is not None:
        yield from _listed(table.routes)  # one moment's, however long the reader takes
    yield b"]"
    if services := tables.services():
        yield b', "services": ['
        yield from _listed(services)
        yield b"]"
    yield b"}\n"


def _listed(entries: Sequence[Route] | Sequence[Service]) -> Iterator[bytes]:
    separator = b""
    for start in range(0, len(entries), _ROUTES_PER_PIECE):
        documents = (entry.document() for entry in entries[start : start + _ROUTES_PER_PIECE])
        yield separator + ", ".join(map(json.dumps, documents)).encode()
        separator = b", "
