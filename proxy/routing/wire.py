"""The routing table document of SPEC 5: the schema that file, feed, admin and API share.

Reading is strict: a document is taken whole or refused whole, and every fault is named by its path, like
`routes[3].mappings[0].port: must be an integer in 1-65535, is 70000`. Each part is read by a function
`(value, path) -> the part, or None` that adds its faults to one list, so a feed can read one route alone
(`read_route`) and refuse only that.

What is no fault: a key both live and gone, or a gone route that stands in `routes`. Such lists are history, and the
present wins (`table`). Nor are repeated keys in `liveKeys`, `goneKeys` and `goneRoutes`: they are sets.

Cost: about 10 us per route (one mapping, one destination).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from proxy.routing.authority import host_name
from proxy.routing.callers import CALLER_RULE, is_caller
from proxy.routing.digest import DIGEST_RULE, SALT_RULE, digests, is_digest, is_salt
from proxy.routing.faults import TableError, excerpt
from proxy.routing.names import (
    HOST_RULE,
    ROUTING_KEY_RULE,
    SANDBOX_RULE,
    WORKLOAD_PART_RULE,
    Endpoint,
    Workload,
    is_dns_name,
    is_host,
    is_routing_key,
    is_sandbox_name,
    is_workload_part,
)
from proxy.routing.table import API_VERSION, KIND, GoneRoute, Mapping, Preview, Route, RoutingTable, Service

__all__ = ["PartReader", "TableError", "read_document", "read_route", "write_document"]

_T = TypeVar("_T")

APP_PROTOCOLS: Final = ("http", "http2", "grpc")
AUTHORITIES: Final = ("preserve", "destination")

_MISSING: Final = object()
_Fields = tuple[frozenset[str], frozenset[str]]  # required, all


def _fields(required: str, optional: str = "") -> _Fields:
    names = frozenset(required.split())
    return names, names | frozenset(optional.split())


_DOCUMENT: Final = _fields("apiVersion kind version routes", "keyDigest liveKeys goneKeys goneRoutes services previews")
_ROUTE: Final = _fields("routingKey sandbox baseline mappings")
_MAPPING: Final = _fields("port destinations", "appProtocol authority")
_GONE_ROUTE: Final = _fields("routingKey baseline")
_WORKLOAD: Final = _fields("kind namespace name")
_ENDPOINT: Final = _fields("host port")
_KEY_DIGEST: Final = _fields("salt")
_SERVICE: Final = _fields("hosts port baseline upstream", "callers")
_PREVIEW: Final = _fields("domain endpoint upstream", "routingKey")


def read_document(document: object, *, ignore_unknown: bool = False) -> RoutingTable:
    """The table that the document describes. `ignore_unknown`: pass over fields of a newer schema, as a feed may.

    Raises: TableError with every fault.
    """
    reader = _Reader(ignore_unknown)
    table = reader.document(document)
    if table is None or reader.faults:
        raise TableError(reader.faults)
    return table


def read_route(route: object, path: str, *, ignore_unknown: bool = False) -> tuple[Route | None, list[str]]:
    """One route of a document, or None and its faults. Its place among others (duplicates) is not looked at."""
    reader = _Reader(ignore_unknown)
    result = reader.route(route, path)
    return (None if reader.faults else result), reader.faults


class PartReader:
    """Reads parts of a document whose fields a newer schema may have added to, each on its own, as a feed gets them."""

    __slots__ = ("_reader",)

    def __init__(self) -> None:
        self._reader: Final = _Reader(ignore_unknown=True)

    def route(self, value: object, path: str) -> tuple[Route | None, list[str]]:
        """The route, or None and its faults."""
        route = self._reader.route(value, path)
        faults = self._taken_faults()
        return (None if faults else route), faults

    def whose(self, value: object, path: str) -> tuple[bytes, Workload]:
        """The key and the workload of a route that has faults.

        Raises: TableError if it cannot be told.
        """
        fields = value if type(value) is dict else {}
        key = self._reader._key(fields.get("routingKey", _MISSING), f"{path}.routingKey")
        workload = self._reader._workload(fields.get("baseline", _MISSING), f"{path}.baseline")
        faults = self._taken_faults()
        if key is None or workload is None:
            raise TableError(faults or [f"{path}: must have a routingKey and a baseline"])
        return key.encode("ascii"), workload

    def gone_route(self, value: object, path: str) -> GoneRoute:
        """Raises: TableError."""
        route = self._reader._gone_route(value, path)
        faults = self._taken_faults()
        if route is None or faults:
            raise TableError(faults)
        return route

    def service(self, value: object, path: str) -> Service:
        """Raises: TableError."""
        service = self._reader._service(value, path)
        faults = self._taken_faults()
        if service is None or faults:
            raise TableError(faults)
        return service

    def unique_services(self, services: Sequence[Service]) -> None:
        """Raises: TableError if two of them are in one place."""
        self._reader._unique_services(services)
        if faults := self._taken_faults():
            raise TableError(faults)

    def preview(self, value: object, path: str) -> Preview:
        """Raises: TableError."""
        preview = self._reader._preview(value, path)
        faults = self._taken_faults()
        if preview is None or faults:
            raise TableError(faults)
        return preview

    def preview_name(self, value: object, path: str) -> tuple[str, str, str | None]:
        """Domain, endpoint and key of a preview without its upstream.

        Raises: TableError.
        """
        fields = value if type(value) is dict else {}
        preview = self.preview({"upstream": {"host": "h", "port": 1}} | fields, path)
        return preview.domain, preview.endpoint, preview.routing_key

    def keys(self, value: object, path: str, *, are_digests: bool) -> list[bytes]:
        """The keys in a list, or their digests.

        Raises: TableError.
        """
        if type(value) is list and all(type(key) is str for key in value):
            if are_digests:
                found = digests(value)
                if found is not None:
                    return found
            elif all(map(_is_routing_key, value)):
                return [key.encode("ascii") for key in value]
        reader = self._reader
        reader._list(value, path, reader._digest if are_digests else reader._key)
        raise TableError(self._taken_faults())

    def salt(self, document: dict[str, object]) -> bytes | None:
        """By what the document's keys are digests; None: they stand for themselves.

        Raises: TableError.
        """
        salt = self._reader._salt(document["keyDigest"]) if "keyDigest" in document else None
        if faults := self._taken_faults():
            raise TableError(faults)
        return salt

    def _taken_faults(self) -> list[str]:
        faults = self._reader.faults[:]
        self._reader.faults.clear()
        return faults


def write_document(table: RoutingTable) -> dict[str, object]:
    """The table's document; `read_document` gives the same table back."""
    return table.document()


class _Reader:
    """Collects the faults of one document. Workloads are shared: a table has few of them and many routes."""

    __slots__ = ("_ignore_unknown", "_shared", "_workloads", "faults")

    def __init__(self, ignore_unknown: bool) -> None:
        self.faults: Final[list[str]] = []
        self._ignore_unknown: Final = ignore_unknown
        self._shared: Final[dict[Workload, Workload]] = {}
        self._workloads: Final[dict[tuple[tuple[str, object], ...], Workload]] = {}  # by their fields, as they stand

    # --- parts of the schema, outermost first ---

    def document(self, value: object) -> RoutingTable | None:
        fields = self._object(value, "", _DOCUMENT)
        if fields is None:
            return None
        self._constant(fields.get("apiVersion", _MISSING), "apiVersion", API_VERSION)
        self._constant(fields.get("kind", _MISSING), "kind", KIND)
        version = self._version(fields.get("version", _MISSING))
        routes = self._list(fields.get("routes", _MISSING), "routes", self.route)
        has_digests = "keyDigest" in fields
        salt = self._salt(fields["keyDigest"]) if has_digests else None
        read_key = self._digest if has_digests else self._key
        live_keys = self._list(fields.get("liveKeys", ()), "liveKeys", read_key)
        gone_keys = self._list(fields.get("goneKeys", ()), "goneKeys", read_key)
        gone_routes = self._list(fields.get("goneRoutes", ()), "goneRoutes", self._gone_route)
        services = self._list(fields.get("services", ()), "services", self._service)
        self._unique_services(services)
        previews = self._list(fields.get("previews", ()), "previews", self._preview)
        self._unique_previews(previews)
        table = None
        if not self.faults and version is not None:
            table = RoutingTable(
                version,
                [route for route in routes if route is not None],
                [key.encode("ascii") for key in live_keys if key is not None],
                [key.encode("ascii") for key in gone_keys if key is not None],
                [route for route in gone_routes if route is not None],
                [service for service in services if service is not None],
                [preview for preview in previews if preview is not None],
                salt,
            )
        if table is None or sum(map(len, table.routes_of.values())) != len(routes):
            self._unique_routes(routes)
        return table

    def route(self, value: object, path: str) -> Route | None:
        usual = self._usual_route(value)
        return usual if usual is not None else self._any_route(value, path)

    def _usual_route(self, value: object) -> Route | None:
        """A route of the usual shape, one mapping to one destination, without a fault; else None.

        A shortcut, a third of the cost: it must accept nothing that `_any_route` refuses.
        """
        if type(value) is not dict or len(value) != len(_ROUTE[0]):
            return None
        try:
            baseline = self._workloads[tuple(value["baseline"].items())]
            (mapping,) = value["mappings"]
            (destination,) = mapping["destinations"]
            key, sandbox, port = value["routingKey"], value["sandbox"], mapping["port"]
            host, destination_port = destination["host"], destination["port"]
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        optional = len(mapping) - len(_MAPPING[0])
        app_protocol = authority = None
        if optional and (app_protocol := mapping.get("appProtocol")) is not None:
            optional -= 1
        if optional and (authority := mapping.get("authority")) is not None:
            optional -= 1
        if (
            optional == 0
            and len(destination) == len(_ENDPOINT[0])
            and type(key) is type(sandbox) is type(host) is str
            and type(port) is type(destination_port) is int
            and 1 <= port <= 65535
            and 1 <= destination_port <= 65535
            and _is_routing_key(key)
            and is_sandbox_name(sandbox)
            and is_host(host)
            and (app_protocol is None or app_protocol in APP_PROTOCOLS)
            and (authority is None or authority in AUTHORITIES)
            and type(mapping) is type(destination) is dict
            and type(value["mappings"]) is type(mapping["destinations"]) is list
        ):
            endpoint = Endpoint(host, destination_port)
            return Route(key, sandbox, baseline, (Mapping(port, app_protocol, authority or "preserve", (endpoint,)),))
        return None

    def _any_route(self, value: object, path: str) -> Route | None:
        fields = self._object(value, path, _ROUTE)
        if fields is None:
            return None
        key = self._key(fields.get("routingKey", _MISSING), f"{path}.routingKey")
        sandbox = self._text(fields.get("sandbox", _MISSING), f"{path}.sandbox", is_sandbox_name, SANDBOX_RULE)
        baseline = self._workload(fields.get("baseline", _MISSING), f"{path}.baseline")
        mappings = self._list(fields.get("mappings", _MISSING), f"{path}.mappings", self._mapping)
        if len(mappings) > 1:
            self._unique_ports(mappings, path)
        if key is None or sandbox is None or baseline is None:
            return None
        return Route(key, sandbox, baseline, tuple(mapping for mapping in mappings if mapping is not None))

    def _mapping(self, value: object, path: str) -> Mapping | None:
        fields = self._object(value, path, _MAPPING)
        if fields is None:
            return None
        port = self._port(fields.get("port", _MISSING), f"{path}.port")
        app_protocol = None
        if "appProtocol" in fields:
            app_protocol = self._choice(fields["appProtocol"], f"{path}.appProtocol", APP_PROTOCOLS)
        authority = self._choice(fields.get("authority", "preserve"), f"{path}.authority", AUTHORITIES)
        destinations = self._list(fields.get("destinations", _MISSING), f"{path}.destinations", self._endpoint)
        if port is None or authority is None:
            return None
        return Mapping(port, app_protocol, authority, tuple(endpoint for endpoint in destinations if endpoint))

    def _gone_route(self, value: object, path: str) -> GoneRoute | None:
        fields = self._object(value, path, _GONE_ROUTE)
        if fields is None:
            return None
        key = self._key(fields.get("routingKey", _MISSING), f"{path}.routingKey")
        baseline = self._workload(fields.get("baseline", _MISSING), f"{path}.baseline")
        return None if key is None or baseline is None else GoneRoute(key, baseline)

    def _service(self, value: object, path: str) -> Service | None:
        fields = self._object(value, path, _SERVICE)
        if fields is None:
            return None
        hosts = self._list(fields.get("hosts", _MISSING), f"{path}.hosts", self._host)
        if not hosts and isinstance(fields.get("hosts"), list):
            self.faults.append(f"{path}.hosts: must name at least one host")
        port = self._port(fields.get("port", _MISSING), f"{path}.port")
        baseline = self._workload(fields.get("baseline", _MISSING), f"{path}.baseline")
        upstream = self._endpoint(fields.get("upstream", _MISSING), f"{path}.upstream")
        callers = None
        if "callers" in fields:
            callers = self._list(fields["callers"], f"{path}.callers", self._caller)
        if port is None or baseline is None or upstream is None:
            return None
        named = None if callers is None else tuple(caller for caller in callers if caller)
        return Service(tuple(host for host in hosts if host), port, baseline, upstream, named)

    def _preview(self, value: object, path: str) -> Preview | None:
        fields = self._object(value, path, _PREVIEW)
        if fields is None:
            return None
        domain = self._text(fields.get("domain", _MISSING), f"{path}.domain", _is_domain, _DOMAIN_RULE)
        name = self._text(fields.get("endpoint", _MISSING), f"{path}.endpoint", _is_endpoint_name, _ENDPOINT_NAME_RULE)
        upstream = self._endpoint(fields.get("upstream", _MISSING), f"{path}.upstream")
        key = None
        if "routingKey" in fields:
            key = self._text(fields["routingKey"], f"{path}.routingKey", _is_preview_key, _PREVIEW_KEY_RULE)
        if domain is None or name is None or upstream is None:
            return None
        if key is not None and len(name) + len("--") + len(key) > _MAX_LABEL:
            self.faults.append(f"{path}: <endpoint>--<routingKey> must be at most {_MAX_LABEL} characters")
        return Preview(domain, name, upstream, key)

    def _workload(self, value: object, path: str) -> Workload | None:
        fields = self._object(value, path, _WORKLOAD)
        if fields is None:
            return None
        parts = [
            self._text(fields.get(field, _MISSING), f"{path}.{field}", is_workload_part, WORKLOAD_PART_RULE)
            for field in Workload._fields
        ]
        if None in parts:
            return None
        parsed = Workload(*(part for part in parts if part is not None))
        workload = self._shared.setdefault(parsed, parsed)
        if len(fields) == len(_WORKLOAD[0]):
            self._workloads[tuple(fields.items())] = workload
        return workload

    def _endpoint(self, value: object, path: str) -> Endpoint | None:
        fields = self._object(value, path, _ENDPOINT)
        if fields is None:
            return None
        host = self._host(fields.get("host", _MISSING), f"{path}.host")
        port = self._port(fields.get("port", _MISSING), f"{path}.port")
        return None if host is None or port is None else Endpoint(host, port)

    # --- duplicates, each naming both places ---

    def _unique_routes(self, routes: list[Route | None]) -> None:
        places: dict[Workload, dict[str, int]] = {}
        for index, route in enumerate(routes):
            if route is None:
                continue
            of_workload = places.get(route.baseline)
            if of_workload is None:
                of_workload = places[route.baseline] = {}
            first = of_workload.setdefault(route.routing_key, index)
            if first != index:
                self.faults.append(
                    f"routes[{index}]: {route.baseline} has a route for {excerpt(route.routing_key)}"
                    f" already: routes[{first}]"
                )

    def _unique_ports(self, mappings: list[Mapping | None], path: str) -> None:
        places: dict[int, int] = {}
        for index, mapping in enumerate(mappings):
            if mapping is None:
                continue
            first = places.setdefault(mapping.port, index)
            if first != index:
                self.faults.append(
                    f"{path}.mappings[{index}].port: {mapping.port} is mapped already: {path}.mappings[{first}]"
                )

    def _unique_services(self, services: Sequence[Service | None]) -> None:
        """One host may have several entries if their `upstream.port` tells them apart (SPEC 4, router)."""
        places: dict[tuple[bytes, int], str] = {}
        for index, service in enumerate(services):
            for position, host in enumerate(service.hosts if service is not None else ()):
                assert service is not None
                path = f"services[{index}].hosts[{position}]"
                first = places.setdefault((host_name(host.encode()), service.upstream.port), path)
                if first != path:
                    self.faults.append(
                        f"{path}: {excerpt(host)} with upstream port {service.upstream.port} is listed already: {first}"
                    )

    def _unique_previews(self, previews: list[Preview | None]) -> None:
        places: dict[tuple[str, str, str | None], int] = {}
        for index, preview in enumerate(previews):
            if preview is None:
                continue
            first = places.setdefault((preview.domain, preview.endpoint, preview.routing_key), index)
            if first != index:
                self.faults.append(f"previews[{index}]: the same host as previews[{first}]")

    # --- values ---

    def _object(self, value: object, path: str, fields: _Fields) -> dict[str, object] | None:
        """The value if it is an object; missing and unknown fields are faults of their own."""
        if type(value) is not dict:
            if value is not _MISSING:
                self._wrong(path, "must be an object", value)
            return None
        required, known = fields
        present = value.keys()
        if not present <= known and not self._ignore_unknown:
            for name in value:
                if name not in known:
                    self.faults.append(f"{_join(path, _name(name))}: unknown field")
        if not present >= required:
            self.faults.extend(f"{_join(path, name)}: missing" for name in sorted(required - present))
        return value

    def _list(self, value: object, path: str, read: Callable[[object, str], _T | None]) -> list[_T | None]:
        """Each entry as read, None where it has faults, so that places stay true."""
        if type(value) is list:
            return [read(entry, f"{path}[{index}]") for index, entry in enumerate(value)]
        if value is not _MISSING and value != ():
            self._wrong(path, "must be a list ([] for none)", value)
        return []

    def _text(self, value: object, path: str, holds: Callable[[str], bool], rule: str) -> str | None:
        if type(value) is str:
            if holds(value):
                return value
            self._wrong(path, f"must be {rule}", value)
        elif value is not _MISSING:
            self._wrong(path, "must be a string", value)
        return None

    def _key(self, value: object, path: str) -> str | None:
        return self._text(value, path, _is_routing_key, ROUTING_KEY_RULE)

    def _digest(self, value: object, path: str) -> str | None:
        return self._text(value, path, is_digest, DIGEST_RULE)

    def _salt(self, value: object) -> bytes | None:
        fields = self._object(value, "keyDigest", _KEY_DIGEST)
        if fields is None:
            return None
        salt = self._text(fields.get("salt", _MISSING), "keyDigest.salt", is_salt, SALT_RULE)
        return None if salt is None else bytes.fromhex(salt)

    def _host(self, value: object, path: str) -> str | None:
        return self._text(value, path, is_host, HOST_RULE)

    def _caller(self, value: object, path: str) -> str | None:
        return self._text(value, path, is_caller, CALLER_RULE)

    def _version(self, value: object) -> str | None:
        return self._text(value, "version", _is_version, "1-253 printable characters")

    def _port(self, value: object, path: str) -> int | None:
        if type(value) is int and 1 <= value <= 65535:  # not isinstance: True is no port
            return value
        if value is not _MISSING:
            self._wrong(path, "must be an integer in 1-65535", value)
        return None

    def _choice(self, value: object, path: str, choices: tuple[str, ...]) -> str | None:
        if type(value) is str and value in choices:
            return value
        self._wrong(path, f"must be one of {', '.join(choices)}", value)
        return None

    def _constant(self, value: object, path: str, expected: str) -> None:
        if value != expected and value is not _MISSING:
            self._wrong(path, f"must be {expected}", value)

    def _wrong(self, path: str, rule: str, value: object) -> None:
        # YAML reads a key like 123 or 1e5 as a number, a name like true as a boolean.
        hint = ": quote it" if rule == "must be a string" and isinstance(value, bool | int | float) else ""
        self.faults.append(f"{path or 'document'}: {rule}{hint}, is {excerpt(value)}")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _name(name: object) -> str:
    """A field's name as a path shows it: bare if it is a plain word."""
    return (
        name if isinstance(name, str) and name.isascii() and name.isidentifier() and len(name) <= 60 else excerpt(name)
    )


def _is_routing_key(text: str) -> bool:
    return is_routing_key(text.encode("ascii", "replace"))  # '?' is in no key


def _is_version(text: str) -> bool:
    return 0 < len(text) <= 253 and text.isprintable() and not text.isspace()


# --- previews: the host is `<endpoint>--<key>.<domain>`, split at the first `--` (SPEC 4) ---

_MAX_LABEL: Final = 63  # RFC 1035 section 2.3.4
_ENDPOINT_NAME_RULE: Final = "1-60 of a-z 0-9 -, first and last alphanumeric, without '--', not 'xn'"
_PREVIEW_KEY_RULE: Final = "a routing key of a-z 0-9 - (it stands in a host name), last alphanumeric"
_DOMAIN_RULE: Final = "a DNS name in lower case without trailing dot"


def _is_endpoint_name(text: str) -> bool:
    return _is_lower_label(text) and len(text) <= _MAX_LABEL - len("--k") and "--" not in text and text != "xn"


def _is_preview_key(text: str) -> bool:
    return _is_lower_label(text)


def _is_lower_label(text: str) -> bool:
    return _is_routing_key(text) and text == text.lower() and not set(text) & set("._")


def _is_domain(text: str) -> bool:
    return is_dns_name(text) and text == text.lower() and not text.endswith(".")
