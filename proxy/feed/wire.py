"""The feed's messages as JSON texts (`messages` says what they mean). Pure; both sides use it.

Reading is strict where a message could not be used (`WireError`), and passes over unknown types (None) and unknown
fields, so that a newer side can talk to an older one. Routes are left as they came: one bad route is refused alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from proxy.feed.messages import (
    MAX_COUNTS,
    MAX_FAULT,
    MAX_FAULTS,
    MAX_KEYS,
    MAX_MESSAGE_BYTES,
    MAX_POSITION,
    MAX_PREVIEWS,
    MAX_ROUTES,
    MAX_SERVICES,
    ROUTER,
    SIDECAR,
    Ack,
    Change,
    Count,
    Counted,
    Current,
    FromController,
    FromProxy,
    Goodbye,
    Hello,
    Nack,
    Refused,
    RefusedRoute,
    Report,
    Resync,
    Snapshot,
    Traffic,
)
from proxy.routing.digest import SALT_RULE, is_salt
from proxy.routing.faults import excerpt

_MAX_NAME: Final = 253  # as the table's names and version
_MAX_TOKEN: Final = 64
_MAX_KEY: Final = 63
_MAX_WORKLOAD: Final = 3 * _MAX_NAME + 2
_MAX_PORTS: Final = 256
_MAX_SCHEMAS: Final = 16

T = TypeVar("T")


class WireError(Exception):
    """The message can't be used. `nonce`: the one that it carries, so that it can be refused by it."""

    def __init__(self, text: str, nonce: str | None = None) -> None:
        super().__init__(text)
        self.nonce: Final = nonce


# --- written -------------------------------------------------------------------------------------------------------


def encode(message: FromProxy | FromController, encoded: Mapping[str, str] | None = None) -> str:
    """The message's text. `encoded`: fields, by their names on the wire, whose JSON text is there already; they take
    the place of the message's own, so that what thousands of messages share is encoded once."""
    fields = message.fields()
    if not encoded:
        return encode_value(fields)
    own = encode_value({name: value for name, value in fields.items() if name not in encoded})
    shared = ",".join(f'"{name}":{text}' for name, text in encoded.items())
    return f"{own[:-1]},{shared}}}"


def encode_value(value: object) -> str:
    """A field's JSON text, for `encoded`."""
    return json.dumps(value, separators=(",", ":"), check_circular=False)


# --- read ----------------------------------------------------------------------------------------------------------


def read_from_proxy(text: str | bytes) -> FromProxy | None:
    """The message in the text; None for one of a type that is not known here.

    Raises: WireError.
    """
    return _read(text, _FROM_PROXY)


def read_from_controller(text: str | bytes) -> FromController | None:
    """The message in the text; None for one of a type that is not known here.

    Raises: WireError.
    """
    return _read(text, _FROM_CONTROLLER)


def _read(text: str | bytes, readers: Mapping[str, Callable[[_Fields], T]]) -> T | None:
    if len(text) > MAX_MESSAGE_BYTES:
        raise WireError(f"a message of {len(text)} characters, at most {MAX_MESSAGE_BYTES} are read")
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise WireError(f"no JSON: {excerpt(str(error), 200)}") from None
    if type(value) is not dict:
        raise WireError(f"must be an object, is {excerpt(value)}")
    fields = _Fields(value)
    reader = readers.get(fields.text("type", _MAX_TOKEN))
    if reader is None:
        return None
    try:
        return reader(fields)
    except WireError as error:
        nonce = value.get("nonce")
        is_nonce = type(nonce) is str and 0 < len(nonce) <= _MAX_TOKEN and nonce.isprintable()
        raise WireError(str(error), nonce if is_nonce else None) from None


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


class _Fields:
    """An object's fields, each read as it must be; null counts as absent."""

    __slots__ = ("_path", "_values")

    def __init__(self, values: dict[str, object], path: str = "") -> None:
        self._values: Final = values
        self._path: Final = path

    def wrong(self, name: str, rule: str) -> WireError:
        found = excerpt(self._values[name]) if name in self._values else "missing"
        return WireError(f"{self._path}{name}: must be {rule}, is {found}")

    def has(self, name: str) -> bool:
        return self._values.get(name) is not None

    def text(self, name: str, longest: int = _MAX_NAME) -> str:
        value = self._values.get(name)
        if type(value) is str and 0 < len(value) <= longest and value.isprintable():
            return value
        raise self.wrong(name, f"1-{longest} printable characters")

    def optional_text(self, name: str, longest: int = _MAX_NAME) -> str | None:
        return self.text(name, longest) if self.has(name) else None

    def number(self, name: str, lowest: int = 0) -> int:
        value = self._values.get(name)
        if type(value) is int and lowest <= value <= MAX_POSITION:
            return value
        raise self.wrong(name, f"an integer in {lowest}-{MAX_POSITION}")

    def optional_number(self, name: str) -> int | None:
        return self.number(name) if self.has(name) else None

    def flag(self, name: str, default: bool) -> bool:
        value = self._values.get(name, default)
        if type(value) is bool:
            return value
        raise self.wrong(name, "true or false")

    def inner(self, name: str) -> dict[str, object]:
        value = self._values.get(name)
        if type(value) is dict:
            return value
        raise self.wrong(name, "an object")

    def entries(self, name: str, most: int) -> list[object]:
        """A list's entries, whatever they are; none where the field is absent."""
        if not self.has(name):
            return []
        value = self._values[name]
        if type(value) is list and len(value) <= most:
            return value
        raise self.wrong(name, f"a list of at most {most} entries")

    def texts(self, name: str, most: int, longest: int = _MAX_NAME) -> tuple[str, ...]:
        texts = tuple(entry for entry in self.entries(name, most) if type(entry) is str and len(entry) <= longest)
        if self.has(name) and len(texts) != len(self.entries(name, most)):
            raise self.wrong(name, f"a list of texts of at most {longest} characters")
        return texts

    def salt(self) -> str | None:
        value = self.optional_text("salt")
        if value is None or is_salt(value):
            return value
        raise self.wrong("salt", SALT_RULE)

    def part(self) -> int:
        return self.number("part") if self.has("part") else 0


def _hello(fields: _Fields) -> Hello:
    proxy = _Fields(fields.inner("proxy"), "proxy.")
    ports = tuple(port for port in proxy.entries("ports", _MAX_PORTS) if type(port) is int and 1 <= port <= 65535)
    if proxy.has("ports") and len(ports) != len(proxy.entries("ports", _MAX_PORTS)):
        raise proxy.wrong("ports", "a list of integers in 1-65535")
    mode = proxy.optional_text("mode", _MAX_TOKEN) or SIDECAR
    if mode not in (SIDECAR, ROUTER):
        raise proxy.wrong("mode", f"{SIDECAR} or {ROUTER}")
    return Hello(
        id=proxy.text("id"),
        boot=proxy.text("boot", _MAX_TOKEN),
        workload=proxy.text("workload", _MAX_WORKLOAD) if mode == SIDECAR else None,
        ports=ports,
        release=proxy.optional_text("release") or "",
        position=fields.optional_number("position"),
        version=fields.optional_text("version"),
        salt=fields.salt(),
        schemas=fields.texts("schemas", _MAX_SCHEMAS),
    )


def _ack(fields: _Fields) -> Ack:
    return Ack(fields.text("nonce", _MAX_TOKEN), fields.number("position"), fields.text("version"))


def _nack(fields: _Fields) -> Nack:
    routes = []
    for entry in fields.entries("routes", MAX_FAULTS):
        if type(entry) is not dict:
            raise fields.wrong("routes", "a list of objects")
        route = _Fields(entry, "routes.")
        faults = route.texts("faults", MAX_FAULTS, MAX_FAULT)
        workload = route.optional_text("workload", _MAX_WORKLOAD)
        routes.append(RefusedRoute(route.text("routingKey"), faults, workload))
    return Nack(
        fields.text("nonce", _MAX_TOKEN),
        fields.texts("faults", MAX_FAULTS, MAX_FAULT),
        fields.flag("isWhole", default=True),
        tuple(routes),
    )


def _traffic(fields: _Fields) -> Traffic:
    counts = []
    for entry in fields.entries("counts", MAX_COUNTS):
        count = _count(entry)
        if count is None:
            raise fields.wrong("counts", "a list of [key, from sandbox, from baseline], or with a workload after that")
        counts.append(count)
    return Traffic(
        fields.number("seq", 1), tuple(counts), fields.flag("lost", False), fields.optional_text("reply", _MAX_TOKEN)
    )


def _count(entry: object) -> Count | None:
    if type(entry) is not list or len(entry) not in (3, 4):
        return None
    key, from_sandbox, from_baseline = entry[:3]
    workload = entry[3] if len(entry) == 4 else None
    if type(key) is not str or not 0 < len(key) <= _MAX_KEY:
        return None
    if workload is not None and not (type(workload) is str and 0 < len(workload) <= _MAX_WORKLOAD):
        return None
    if type(from_sandbox) is not int or type(from_baseline) is not int:
        return None
    if not (0 <= from_sandbox <= MAX_POSITION and 0 <= from_baseline <= MAX_POSITION):
        return None
    return Count(key, from_sandbox, from_baseline, workload)


def _snapshot(fields: _Fields) -> Snapshot:
    return Snapshot(
        nonce=fields.text("nonce", _MAX_TOKEN),
        position=fields.number("position"),
        version=fields.text("version"),
        document=fields.inner("document"),
        part=fields.part(),
        is_last=fields.flag("isLast", default=True),
    )


def _change(fields: _Fields) -> Change:
    return Change(
        nonce=fields.text("nonce", _MAX_TOKEN),
        position=fields.number("position"),
        from_position=fields.number("from"),
        version=fields.text("version"),
        routes=fields.entries("routes", MAX_ROUTES),
        removed_routes=tuple(fields.entries("removedRoutes", MAX_ROUTES)),
        live_keys=fields.texts("liveKeys", MAX_KEYS),
        not_live_keys=fields.texts("notLiveKeys", MAX_KEYS),
        gone_keys=fields.texts("goneKeys", MAX_KEYS),
        not_gone_keys=fields.texts("notGoneKeys", MAX_KEYS),
        gone_routes=fields.entries("goneRoutes", MAX_ROUTES),
        not_gone_routes=tuple(fields.entries("notGoneRoutes", MAX_ROUTES)),
        previews=fields.entries("previews", MAX_PREVIEWS),
        removed_previews=fields.entries("removedPreviews", MAX_PREVIEWS),
        services=fields.entries("services", MAX_SERVICES) if fields.has("services") else None,
        salt=fields.salt(),
        part=fields.part(),
        is_last=fields.flag("isLast", default=True),
    )


def _current(fields: _Fields) -> Current:
    nonce = fields.text("nonce", _MAX_TOKEN)
    return Current(nonce, fields.number("position"), fields.text("version"), fields.salt())


def _resync(_: _Fields) -> Resync:
    return Resync()


def _goodbye(_: _Fields) -> Goodbye:
    return Goodbye()


def _report(fields: _Fields) -> Report:
    return Report(fields.text("reply", _MAX_TOKEN))


def _counted(fields: _Fields) -> Counted:
    return Counted(fields.number("seq", 1))


def _refused(fields: _Fields) -> Refused:
    return Refused(fields.text("reason", MAX_FAULT))


_FROM_PROXY: Final[Mapping[str, Callable[[_Fields], FromProxy]]] = {
    "hello": _hello,
    "ack": _ack,
    "nack": _nack,
    "resync": _resync,
    "traffic": _traffic,
    "goodbye": _goodbye,
}
_FROM_CONTROLLER: Final[Mapping[str, Callable[[_Fields], FromController]]] = {
    "snapshot": _snapshot,
    "change": _change,
    "current": _current,
    "report": _report,
    "counted": _counted,
    "refused": _refused,
}
