"""Flags and environment -> `Settings`, frozen, checked, with units in the names.

Nobody else reads `os.environ`, and nobody but `__main__` gets `Settings`: modules are given the values they need. All
faults are reported together (`ConfigError`), each one a line that names the flag or the variable it came from. The
options themselves are rows in `flags`; what only shows when options are seen together is checked here.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from proxy import flags
from proxy.options import Option, Values, asks_for_help, help_rows, markdown_rows, read_options
from proxy.routing.decision import VERSIONS, Policy
from proxy.routing.key import KeySettings
from proxy.routing.names import Endpoint, Workload

__all__ = ["ConfigError", "Settings", "asks_for_help", "help_text", "options_markdown", "parse"]


class ConfigError(Exception):
    """The flags or variables do not make sense; `faults` are lines for the operator."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class PortSettings:
    """One port of the workload: where it runs, how the table calls it."""

    baseline: Endpoint
    number: int


@dataclass(frozen=True, slots=True)
class SidecarSettings:
    """What a sidecar stands before; a port for each listener.

    `detect_timeout_s`: it is transparent, with any number of listeners, and `ports` are those whose baseline is named.
    """

    workload: Workload
    ports: tuple[PortSettings, ...]
    detect_timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each step may take. Where 0 is allowed it means no limit."""

    connect_timeout_s: float
    response_timeout_s: float
    head_timeout_s: float
    idle_timeout_s: float
    upstream_idle_timeout_s: float
    stream_idle_timeout_s: float
    tunnel_idle_timeout_s: float


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one peer may ask for."""

    max_head_bytes: int
    max_fields: int
    max_connections: int
    max_streams: int


@dataclass(frozen=True, slots=True)
class DrainSettings:
    """After SIGTERM: accept for `delay_s` more, then let running requests finish within `timeout_s`."""

    delay_s: float
    timeout_s: float


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """Where the table comes from, if not from a file. `proxy_id`: what this process is called there; `worker`: which
    of several it is, from 1 on."""

    url: str
    token_file: str | None
    ca_file: str | None
    state_dir: str | None
    sync_timeout_s: float
    proxy_id: str
    worker: int | None = None


@dataclass(frozen=True, slots=True)
class PreviewSettings:
    """Who may see a router's previews, and how browsers come to it."""

    is_auth_required: bool
    auth_header: bytes | None
    auth_from: tuple[IPv4Network | IPv6Network, ...]
    token_file: str | None
    token_file_origin: str  # the flag or the variable
    session_s: float
    scheme: str


@dataclass(frozen=True, slots=True)
class AccessLogSettings:
    """Where lines go (None: stdout), and the share of requests without errors that get one."""

    file: str | None
    sample: float


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """What is told of requests, and to whom. `span_exporters`: by the names that their packages give them; None: no
    spans."""

    access_log: AccessLogSettings | None
    span_exporters: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Origins:
    """The flag or the variable that each came from, for faults that show only when it is used."""

    listen: str
    table_file: str
    admin: str
    access_log_file: str
    traces: str
    admin_token_file: str
    health_listen: str


@dataclass(frozen=True, slots=True)
class Settings:
    listens: tuple[Endpoint, ...]
    sidecar: SidecarSettings | None  # None: a router
    table_file: str | None
    controller: ControllerSettings | None  # either this or the file
    admin: Endpoint | None
    admin_token_file: str | None
    health_listen: Endpoint | None
    keys: KeySettings
    policy: Policy
    sandbox_failure_to_baseline: bool
    destination_allow: tuple[IPv4Network | IPv6Network, ...]
    identity_from: tuple[IPv4Network | IPv6Network, ...]
    upstream_source: str | None
    appends_forwarded: bool
    baseline_version: int
    dns_servers: tuple[str, ...]
    decision_header: bool
    watch: WatchSettings
    previews: PreviewSettings
    drain: DrainSettings
    timeouts: Timeouts
    limits: Limits
    workers: int
    origins: Origins


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """The settings that flags (without the program's name) and variables ask for.

    Raises: ConfigError with every fault.
    """
    values, faults = read_options(flags.OPTIONS, argv, environ)
    faults += _mode_faults(values)
    faults += _source_faults(values)
    faults += _preview_faults(values)
    faults += _address_faults(values)
    faults += _watch_faults(values, environ)
    faults += name_faults(values)
    if faults:
        raise ConfigError(faults)
    return Settings(
        listens=values.present(flags.LISTEN),
        sidecar=None if _is_router(values) else _sidecar(values),
        table_file=values.optional(flags.TABLE),
        controller=_controller(values, environ),
        admin=values.one(flags.ADMIN),
        admin_token_file=values.optional(flags.ADMIN_TOKEN_FILE),
        health_listen=values.optional(flags.HEALTH_LISTEN),
        keys=key_settings(values),
        policy=policy(values),
        sandbox_failure_to_baseline=values.one(flags.ON_SANDBOX_FAILURE) == "baseline",
        destination_allow=values.present(flags.DESTINATION_ALLOW),
        identity_from=values.present(flags.IDENTITY_FROM),
        upstream_source=values.optional(flags.UPSTREAM_SOURCE),
        appends_forwarded=values.one(flags.FORWARDED) == "append",
        baseline_version=VERSIONS[values.one(flags.BASELINE_PROTOCOL)],
        dns_servers=values.present(flags.DNS_SERVER),
        decision_header=values.one(flags.DECISION_HEADER),
        watch=WatchSettings(_access_log(values), _span_exporters(values, environ)),
        previews=PreviewSettings(
            is_auth_required=values.one(flags.PREVIEW_AUTH) == "required",
            auth_header=values.optional(flags.PREVIEW_AUTH_HEADER),
            auth_from=values.present(flags.PREVIEW_AUTH_FROM),
            token_file=values.optional(flags.PREVIEW_TOKEN_FILE),
            token_file_origin=values.origin(flags.PREVIEW_TOKEN_FILE),
            session_s=values.one(flags.PREVIEW_SESSION),
            scheme=values.one(flags.PREVIEW_SCHEME),
        ),
        drain=DrainSettings(values.one(flags.DRAIN_DELAY), values.one(flags.DRAIN_TIMEOUT)),
        timeouts=Timeouts(
            connect_timeout_s=values.one(flags.CONNECT_TIMEOUT),
            response_timeout_s=values.one(flags.RESPONSE_TIMEOUT),
            head_timeout_s=values.one(flags.HEAD_TIMEOUT),
            idle_timeout_s=values.one(flags.IDLE_TIMEOUT),
            upstream_idle_timeout_s=values.one(flags.UPSTREAM_IDLE_TIMEOUT),
            stream_idle_timeout_s=values.one(flags.STREAM_IDLE_TIMEOUT),
            tunnel_idle_timeout_s=values.one(flags.TUNNEL_IDLE_TIMEOUT),
        ),
        limits=Limits(
            max_head_bytes=values.one(flags.MAX_HEAD_BYTES),
            max_fields=values.one(flags.MAX_FIELDS),
            max_connections=values.one(flags.MAX_CONNECTIONS),
            max_streams=values.one(flags.MAX_STREAMS),
        ),
        workers=values.one(flags.WORKERS),
        origins=Origins(*map(values.origin, _WITH_ORIGINS)),
    )


_WITH_ORIGINS: Final[tuple[Option[object], ...]] = (
    flags.LISTEN,
    flags.TABLE,
    flags.ADMIN,
    flags.ACCESS_LOG_FILE,
    flags.TRACES,
    flags.ADMIN_TOKEN_FILE,
    flags.HEALTH_LISTEN,
)


def key_settings(values: Values) -> KeySettings:
    return KeySettings(values.present(flags.KEY_NAME), values.present(flags.KEY_HEADER))


def policy(values: Values) -> Policy:
    return Policy(
        unknown_key_rejects=values.one(flags.UNKNOWN_KEY) == "reject",
        gone_key_rejects=values.one(flags.GONE_KEY) == "reject",
    )


def help_text() -> str:
    """What `--help` prints."""
    return (
        "usage: pointsman proxy --listen HOST:PORT --baseline HOST:PORT --workload NS/KIND/NAME\n"
        "                       (--table FILE | --controller URL) [...]\n"
        "       pointsman proxy --mode router --listen HOST:PORT (--table FILE | --controller URL) [...]\n"
        "\n"
        "Routes requests that carry a sandbox's routing key to that sandbox, all others to the baseline.\n"
        "Each flag has an environment variable, named below; a flag beats it. There, commas separate repeated values.\n"
        "\n"
        f"{help_rows(flags.OPTIONS)}\n"
        "\n"
        "Exit codes: 0 asked to stop and drained, 2 bad arguments, configuration or table, 1 anything else.\n"
    )


def options_markdown() -> str:
    """The README's table of options."""
    return markdown_rows(flags.OPTIONS)


def _controller(values: Values, environ: Mapping[str, str]) -> ControllerSettings | None:
    url = values.optional(flags.CONTROLLER)
    if url is None:
        return None
    return ControllerSettings(
        url=url,
        token_file=values.optional(flags.TOKEN_FILE),
        ca_file=values.optional(flags.CONTROLLER_CA),
        state_dir=values.optional(flags.STATE_DIR),
        sync_timeout_s=values.one(flags.SYNC_TIMEOUT),
        proxy_id=_proxy_id(environ, values.present(flags.LISTEN)[0]),
    )


def _proxy_id(environ: Mapping[str, str], listen: Endpoint) -> str:
    """The pod's name where there is one; elsewhere what stays the same when the proxy is started again."""
    pod = "".join(character for character in environ.get("POD_NAME", "") if character.isprintable())
    place = str(listen) if listen.port else f"pid-{os.getpid()}"
    return (pod or f"{socket.gethostname()}/{place}")[:253]


def _access_log(values: Values) -> AccessLogSettings | None:
    if values.one(flags.ACCESS_LOG) == "off":
        return None
    return AccessLogSettings(values.optional(flags.ACCESS_LOG_FILE), values.one(flags.ACCESS_LOG_SAMPLE))


# The SDK reads its variables itself, but leaves these to whoever starts it.
# Spec: OpenTelemetry's environment variables: "Exporter Selection", OTEL_EXPORTER_OTLP_PROTOCOL.
_EXPORTERS: Final = "OTEL_TRACES_EXPORTER"
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_OTLP: Final = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}


def _otlp_protocol(environ: Mapping[str, str]) -> tuple[str, str]:
    """The variable that says it, and what it says."""
    said = [(name, environ[name].strip()) for name in _PROTOCOLS if environ.get(name, "").strip()]
    return said[0] if said else ("", "http/protobuf")


def _span_exporters(values: Values, environ: Mapping[str, str]) -> tuple[str, ...] | None:
    if values.one(flags.TRACES) == "off":
        return None
    names = [name.strip() for name in (environ.get(_EXPORTERS, "").strip() or "otlp").split(",")]
    _, protocol = _otlp_protocol(environ)
    return tuple(_OTLP[protocol] if name == "otlp" else name for name in names if name not in ("none", "")) or None


def _is_router(values: Values) -> bool:
    return values.optional(flags.MODE) == "router"


def _is_transparent(values: Values) -> bool:
    return values.optional(flags.TRANSPARENT) is True


def _sidecar(values: Values) -> SidecarSettings:
    baselines = values.present(flags.BASELINE)
    numbers = values.present(flags.WORKLOAD_PORT) or tuple(baseline.port for baseline in baselines)
    ports = tuple(map(PortSettings, baselines, numbers))
    detect_timeout_s = values.one(flags.DETECT_TIMEOUT) if _is_transparent(values) else None
    return SidecarSettings(values.present(flags.WORKLOAD)[0], ports, detect_timeout_s)


# --- faults that show only when options are seen together ----------------------------------------------------------


def _source_faults(values: Values) -> list[str]:
    """The table comes from one place, and what only a controller needs makes no sense without one."""
    faults: list[str] = []
    table, controller = values.all(flags.TABLE), values.all(flags.CONTROLLER)
    if not table and not controller:
        faults.append(
            f"{flags.TABLE.flag} (or {flags.TABLE.variable}) or {flags.CONTROLLER.flag} (or"
            f" {flags.CONTROLLER.variable}) is required: where the routing table comes from"
        )
    if table and controller:
        faults.append(f"{values.origin(flags.TABLE)}: can't be given with {values.origin(flags.CONTROLLER)}")
    for option in (flags.TOKEN_FILE, flags.CONTROLLER_CA, flags.STATE_DIR):
        if values.all(option) and not controller:
            faults.append(f"{values.origin(option)}: needs {flags.CONTROLLER.flag}")
    if values.all(flags.CONTROLLER_CA) and any(url.startswith("http:") for url in values.present(flags.CONTROLLER)):
        faults.append(f"{values.origin(flags.CONTROLLER_CA)}: needs a {flags.CONTROLLER.flag} with https")
    return faults


def _watch_faults(values: Values, environ: Mapping[str, str]) -> list[str]:
    """A file needs a log, and spans a protocol that there is."""
    faults: list[str] = []
    if values.all(flags.ACCESS_LOG_FILE) and values.optional(flags.ACCESS_LOG) == "off":
        faults.append(f"{values.origin(flags.ACCESS_LOG_FILE)}: needs {flags.ACCESS_LOG.flag} json")
    variable, protocol = _otlp_protocol(environ)
    if values.optional(flags.TRACES) == "otel" and protocol not in _OTLP:
        faults.append(f"{variable}: must be {' or '.join(_OTLP)}, is {protocol!r}")
    return faults


_SIDECAR_ONLY: Final[tuple[Option[object], ...]] = (flags.BASELINE, flags.WORKLOAD, flags.WORKLOAD_PORT)

_ROUTER_ONLY: Final[tuple[Option[object], ...]] = (flags.IDENTITY_FROM,)


def _mode_faults(values: Values) -> list[str]:
    """A sidecar has one workload, whose `--listen`, `--baseline` and `--workload-port` repeat together; of a router's
    the table tells."""
    if _is_router(values):
        faults = [
            f"{values.origin(option)}: makes no sense in a router, whose table tells it (services)"
            for option in _SIDECAR_ONLY
            if values.all(option)
        ]
        if _is_transparent(values):
            faults.append(
                f"{values.origin(flags.TRANSPARENT)}: makes no sense in a router, which is called by its address"
            )
        return faults
    faults = [
        f"{values.origin(option)}: makes no sense in a sidecar, which asks nobody's identity"
        for option in _ROUTER_ONLY
        if values.all(option)
    ]
    faults += [
        f"{option.flag} (or {option.variable}) is required: {option.text}"
        for option in (flags.BASELINE, flags.WORKLOAD)
        if not values.all(option) and not (option is flags.BASELINE and _is_transparent(values))
    ]
    if _is_transparent(values):
        return faults + _named_port_faults(values)
    listens, baselines, ports = map(len, map(values.all, (flags.LISTEN, flags.BASELINE, flags.WORKLOAD_PORT)))
    if listens and baselines and listens != baselines:
        faults.append(f"{values.origin(flags.BASELINE)}: one for each --listen, are {baselines} for {listens}")
    if listens and ports not in (0, listens):
        origin = values.origin(flags.WORKLOAD_PORT)
        faults.append(f"{origin}: one for each --listen or none at all, are {ports} for {listens}")
    return faults


def _named_port_faults(values: Values) -> list[str]:
    """With `--transparent`: each `--baseline` is for one port, that of its `--workload-port`, or its own."""
    faults: list[str] = []
    baselines, numbers = values.all(flags.BASELINE), values.all(flags.WORKLOAD_PORT)
    origin = values.origin(flags.WORKLOAD_PORT)
    if len(numbers) not in (0, len(baselines)):
        faults.append(
            f"{origin}: with {flags.TRANSPARENT.flag} one for each --baseline or none at all, are {len(numbers)} for"
            f" {len(baselines)}"
        )
    named = numbers or tuple(baseline and baseline.port for baseline in baselines)
    for number in sorted({number for number in named if number is not None and named.count(number) > 1}):
        faults.append(f"{origin if numbers else values.origin(flags.BASELINE)}: port {number} is named twice")
    return faults


def _preview_faults(values: Values) -> list[str]:
    """Previews are a router's; a header counts only with the networks that it is believed from."""
    header, networks = flags.PREVIEW_AUTH_HEADER, flags.PREVIEW_AUTH_FROM
    faults = [
        f"{values.origin(option)}: needs {flags.MODE.flag} router"
        for option in (header, networks, flags.PREVIEW_TOKEN_FILE)
        if values.all(option) and not _is_router(values)
    ]
    for option, other in ((header, networks), (networks, header)):
        if values.all(option) and not values.all(other):
            faults.append(f"{values.origin(option)}: needs {other.flag}")
    for name in values.present(header):
        if name in values.present(flags.KEY_HEADER):
            faults.append(f"{values.origin(header)}: {name.decode()!r} is also given as {flags.KEY_HEADER.flag}")
    return faults


def _address_faults(values: Values) -> list[str]:
    """No two listeners in one place, no baseline that is one of them, no admin that anybody can reach."""
    faults: list[str] = []
    listens = values.present(flags.LISTEN)
    listen_origin = values.origin(flags.LISTEN)
    for index, listen in enumerate(listens):
        if any(_overlap(listen, other) for other in listens[:index]):
            faults.append(f"{listen_origin}: {listen} is listened on twice")
    for baseline in dict.fromkeys(values.present(flags.BASELINE)):
        if any(_overlap(listen, baseline) for listen in listens):
            faults.append(f"{values.origin(flags.BASELINE)}: {baseline} is where this proxy listens itself (--listen)")
        elif any(not isinstance(address, str) and address.is_unspecified for address in _addresses(baseline.host)):
            faults.append(f"{values.origin(flags.BASELINE)}: {baseline} can be listened on, not connected to")
    places = [(flags.LISTEN.flag, place) for place in listens]
    places += [(flags.BASELINE.flag, place) for place in values.present(flags.BASELINE)]
    admins = [admin for admin in values.all(flags.ADMIN) if admin is not None]
    pages = [(flags.ADMIN, admin) for admin in admins]
    pages += [(flags.HEALTH_LISTEN, health) for health in values.present(flags.HEALTH_LISTEN)]
    for option, page in pages:
        others = dict.fromkeys(other for other, place in places if _overlap(place, page))
        faults += [f"{values.origin(option)}: {page} is also given as {other}" for other in others]
        places.append((option.flag, page))
    for admin in admins:
        is_loopback = all(not isinstance(address, str) and address.is_loopback for address in _addresses(admin.host))
        if not is_loopback and not values.all(flags.ADMIN_TOKEN_FILE):
            faults.append(
                f"{values.origin(flags.ADMIN)}: {admin} is not a loopback address, so others could drain the proxy and"
                f" read the table: needs {flags.ADMIN_TOKEN_FILE.flag} (or use 127.0.0.1, [::1] or off)"
            )
    return faults


def name_faults(values: Values) -> list[str]:
    """A name that stands twice in the order of precedence is a mistake somewhere."""
    faults: list[str] = []
    for option in (flags.KEY_NAME, flags.KEY_HEADER):
        names = values.present(option)
        twice = sorted({name for name in names if names.count(name) > 1})
        faults += [f"{values.origin(option)}: {name.decode()!r} is given twice" for name in twice]
    return faults


def _overlap(a: Endpoint, b: Endpoint) -> bool:
    """Whether a connection to `b` may arrive at a listener on `a`, as far as the texts tell.

    A wildcard also means this machine's other addresses, which the texts do not tell: whoever is led back to itself
    that way notices it when it happens (SPEC 4).
    """
    if a.port != b.port or a.port == 0:
        return False
    return any(_meet(x, y) for x in _addresses(a.host) for y in _addresses(b.host))


_Address = IPv4Address | IPv6Address | str


def _meet(x: _Address, y: _Address) -> bool:
    if isinstance(x, str) or isinstance(y, str):
        return x == y
    wild = x.is_unspecified or y.is_unspecified
    local = all(address.is_unspecified or address.is_loopback for address in (x, y))
    return x == y or (x.version == y.version and wild and local)


def _addresses(host: str) -> list[_Address]:
    """The addresses that the host stands for; a name stands for itself, since resolving is not this module's part."""
    name = host.lower().rstrip(".")
    if name == "localhost":
        return [IPv4Address("127.0.0.1"), IPv6Address("::1")]
    try:
        address = ip_address(name)
    except ValueError:
        return [name]
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    return [address]
