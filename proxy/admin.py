"""The admin pages: `/livez /readyz /metrics /table /explain /drain` (SPEC 6).

On loopback only. A browser on the same machine can reach loopback too, so a page of the web must not be able to drain a
sidecar: requests that a browser marks as coming from elsewhere (`Origin`) are refused, and so is a Host that is a name
(DNS rebinding).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from proxy.codec.events import RequestHead
from proxy.modes import BadQuestion
from proxy.net.http_server import Answer
from proxy.places import Place, PreviewPlaces
from proxy.routing.decision import Decision
from proxy.routing.key import KeyReader
from proxy.routing.table import Route, Service
from proxy.tables import Holder
from proxy.telemetry.exposition import Exposition

_JSON: Final = "application/json"
_ROUTES_PER_PIECE: Final = 200
_PAGES: Final = "pages: /livez /readyz /metrics /table, POST a request head to /explain, POST /drain\n"


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

    def answer(self, head: RequestHead, body: bytes) -> Answer:
        """The page that a request asks for."""
        path, _, query = head.target.decode("ascii").partition("?")
        if _is_foreign(head):
            return Answer(403, b"refused: a request of a web page, or for another host than this one\n")
        posts = {"/explain": self._explain, "/drain": self._drain}
        gets = {"/livez": self._livez, "/readyz": self._readyz, "/metrics": self._metrics, "/table": self._table}
        if path not in posts and path not in gets:
            return Answer(404, _PAGES.encode())
        if path in posts:
            if head.method != b"POST":
                return Answer(405, f"{path} takes POST\n".encode())
            return posts[path](query, body)
        if head.method not in (b"GET", b"HEAD"):
            return Answer(405, f"{path} takes GET\n".encode())
        return gets[path](head)

    def _livez(self, _: RequestHead) -> Answer:
        return Answer(200, b"ok\n")

    def _readyz(self, _: RequestHead) -> Answer:
        why = self.why_not_ready()
        return Answer(200, b"ok\n") if why is None else Answer(503, f"not ready: {why}\n".encode())

    def _metrics(self, head: RequestHead) -> Answer:
        text, media_type = self.exposition.text(_field(head, b"accept").decode("latin-1"))
        return Answer(200, text, media_type)

    def _table(self, _: RequestHead) -> Answer:
        return Answer(200, media_type=_JSON, pieces=_table_pieces(self.tables))

    def _drain(self, _query: str, _body: bytes) -> Answer:
        self.start_drain()
        return Answer(202, b"draining\n")

    def _explain(self, query: str, body: bytes) -> Answer:
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


def _table_pieces(tables: Holder) -> Iterator[bytes]:
    """SPEC 6's `/table`: the state, then the document's parts, a few hundred routes at a time."""
    table = tables.current
    state = json.dumps(tables.state())
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


def _field(head: RequestHead, name: bytes) -> bytes:
    for line in head.lines[1:]:
        spelled, _, value = line.partition(b":")
        if spelled.lower() == name:
            return value.strip(b" \t")
    return b""


def _is_foreign(head: RequestHead) -> bool:
    if _field(head, b"origin") or _field(head, b"sec-fetch-site") not in (b"", b"none", b"same-origin"):
        return True
    host = head.host.lower()
    name = host.partition(b"]")[0] if host.startswith(b"[") else host.partition(b":")[0]
    return bool(name) and name != b"localhost" and name.strip(b"[0123456789abcdef.:") != b""
