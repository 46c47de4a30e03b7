"""Flags and environment -> `Settings` of the controller, frozen and checked; all faults are reported together.

The options are rows as the proxy's are (`proxy.options`), so flags, variables and help behave alike. Nobody else reads
`os.environ`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final, NamedTuple

from controller.grammar import LABEL_KEY_RULE, is_label_key
from controller.quotas import Quotas
from proxy.flags import listen_endpoint, network
from proxy.options import Option, Values, asks_for_help, choice, help_rows, plain, read_options, seconds, whole
from proxy.routing.names import Endpoint, is_dns_name

__all__ = ["ConfigError", "Settings", "asks_for_help", "help_text", "parse"]

STATE_FOLDER: Final = ".pointsman"
_MAX_DOMAIN: Final = 253 - 64  # one label and its dot come before it
_LOOPBACK: Final = ("127.0.0.0/8", "::1/128")


class ConfigError(Exception):
    """The flags or variables do not make sense; `faults` are lines for the operator."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


def _source(text: str) -> str:
    kind, colon, folder = text.partition(":")
    if text == "kubernetes":
        raise ValueError("kubernetes is not there yet in this version: use dir:DIR")
    if kind != "dir" or not colon or not folder:
        raise ValueError(f"must be dir:DIR, is {text!r}")
    return os.path.abspath(folder)


def _label_key(text: str) -> str:
    if not is_label_key(text):
        raise ValueError(f"must be {LABEL_KEY_RULE}, is {text!r}")
    return text


def _domain(text: str) -> str:
    name = text.lower().removesuffix(".")
    if not is_dns_name(name) or len(name) > _MAX_DOMAIN:
        raise ValueError(f"must be a DNS name of at most {_MAX_DOMAIN} characters, is {text!r}")
    return name


SOURCE: Final = Option(
    "source", "dir:DIR", _source, "where sandboxes and route groups are: a folder of YAML files", required=True
)
LISTEN: Final = Option(
    "listen",
    "HOST:PORT",
    listen_endpoint,
    "address of the REST API and of the feed that proxies dial; port 0 lets the system choose",
    default="127.0.0.1:16030",
    why="loopback: beyond it --tokens-file is required",
)
STATE_DIR: Final = Option(
    "state-dir",
    "DIR",
    plain,
    "what must outlive a restart: generated keys, ages, gone keys, the feed's position; made if it is missing, mode "
    "0700; one controller has it at a time",
    default_text=f"{STATE_FOLDER} in the source's folder, which is not read as objects",
)
TOKENS_FILE: Final = Option(
    "tokens-file",
    "FILE",
    plain,
    "YAML list of {name, tokenSha256 or token, role: read|write|proxy|router, workload (proxy only), namespaces}; read "
    "again when it changes; a broken new one is refused and the old one stays",
    default_text="none: whoever reaches the listener may do everything, so it must be on loopback",
)
TLS_CERT: Final = Option(
    "tls-cert", "FILE", plain, "certificate chain, PEM; read again when it changes", default_text="none: no TLS"
)
TLS_KEY: Final = Option("tls-key", "FILE", plain, "its private key, PEM")
AUDIT_LOG: Final = Option(
    "audit-log",
    "FILE",
    plain,
    "where each change is told, one JSON line: time, who, verb, object, result; opened again when it is rotated",
    default_text="stderr",
)
QUOTA_NAMESPACE: Final = Option(
    "quota-namespace",
    "COUNT",
    whole(1, 10_000_000),
    "how many objects one namespace may have",
    default_text="no limit",
    unit="objects",
)
QUOTA_OWNER: Final = Option(
    "quota-owner",
    "COUNT",
    whole(1, 10_000_000),
    "how many objects one owner may have, over all namespaces; those without the label count as one owner",
    default_text="no limit",
    unit="objects",
)
OWNER_LABEL: Final = Option("owner-label", "LABEL", _label_key, "the label that names the owner", default="owner")
DESTINATION_ALLOW: Final = Option(
    "destination-allow",
    "CIDR",
    network,
    "where `local` targets may be; the proxies check again, by their own --destination-allow",
    default_text="loopback while --listen is on loopback, else nowhere",
    why="a controller on loopback serves this machine only",
    repeatable=True,
)
SERVICES: Final = Option(
    "services",
    "FILE",
    plain,
    "what routers answer for: YAML {services: [...], previews: [...]} as in a routing table; read again when it "
    "changes; a broken new one is refused and the old one stays",
    default_text="none: routers know no host",
)
PREVIEW_DOMAIN: Final = Option(
    "preview-domain",
    "DOMAIN",
    _domain,
    "sandboxes' endpoints are at <endpoint>--<routing key>.DOMAIN, by way of routers",
    default_text="none: endpoints have no host",
)
ISTIO_MODE: Final = Option(
    "istio-mode",
    "off|rules|router",
    choice("off", "rules", "router"),
    "whether routers stand in an Istio mesh, for all (router) or for what rules can't hold (rules): they call forks by "
    "their own hosts then (`authority: destination`), since the mesh routes by host again; off: as the request says",
    default="off",
)
DRAIN_LIMIT: Final = Option(
    "drain-limit",
    "SECONDS",
    seconds(0),
    "how long a deleted object stays, at most, until every attached proxy has taken its routes away",
    default="30",
    why="a proxy that hangs must not keep it for ever",
    unit="s",
)

OPTIONS: Final[tuple[Option[object], ...]] = (
    SOURCE,
    LISTEN,
    STATE_DIR,
    TOKENS_FILE,
    TLS_CERT,
    TLS_KEY,
    AUDIT_LOG,
    QUOTA_NAMESPACE,
    QUOTA_OWNER,
    OWNER_LABEL,
    DESTINATION_ALLOW,
    SERVICES,
    PREVIEW_DOMAIN,
    ISTIO_MODE,
    DRAIN_LIMIT,
)


class Tls(NamedTuple):
    certificate_file: str
    key_file: str


@dataclass(frozen=True, slots=True)
class Settings:
    folder: str
    state_folder: str
    listen: Endpoint
    tokens_file: str | None
    tls: Tls | None
    audit_file: str | None
    quotas: Quotas
    destination_allow: tuple[IPv4Network | IPv6Network, ...]
    services_file: str | None
    preview_domain: str | None
    istio_mode: str  # off, rules or router
    drain_limit_s: float

    @property
    def has_mesh(self) -> bool:
        """Whether routers call forks through a mesh: in rules mode too, those that were too many for rules."""
        return self.istio_mode != "off"


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """The settings that flags (without the program's name) and variables ask for.

    Raises: ConfigError with every fault.
    """
    values, faults = read_options(OPTIONS, argv, environ)
    faults += _faults_together(values)
    if faults:
        raise ConfigError(faults)
    folder, listen = values.one(SOURCE), values.one(LISTEN)
    certificate, key = values.optional(TLS_CERT), values.optional(TLS_KEY)
    allow = values.present(DESTINATION_ALLOW)
    if not allow and is_loopback(listen.host):
        allow = tuple(map(network, _LOOPBACK))
    return Settings(
        folder=folder,
        state_folder=os.path.abspath(values.optional(STATE_DIR) or os.path.join(folder, STATE_FOLDER)),
        listen=listen,
        tokens_file=values.optional(TOKENS_FILE),
        tls=Tls(certificate, key) if certificate is not None and key is not None else None,
        audit_file=values.optional(AUDIT_LOG),
        quotas=Quotas(
            values.optional(QUOTA_NAMESPACE),
            values.optional(QUOTA_OWNER),
            values.one(OWNER_LABEL),
        ),
        destination_allow=allow,
        services_file=values.optional(SERVICES),
        preview_domain=values.optional(PREVIEW_DOMAIN),
        istio_mode=values.one(ISTIO_MODE),
        drain_limit_s=values.one(DRAIN_LIMIT),
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it. A name is not looked up: only `localhost` is known."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def help_text() -> str:
    """What `--help` prints."""
    return (
        "usage: pointsman controller --source dir:DIR [--listen HOST:PORT] [...]\n"
        "\n"
        "Makes sandboxes and route groups the routing table of all proxies. REST API: GET /openapi.json, page: /ui.\n"
        "Each flag has an environment variable, named below; a flag beats it. There, commas separate repeated values.\n"
        "\n"
        f"{help_rows(OPTIONS)}\n"
        "\n"
        "Exit codes: 0 asked to stop, 2 bad arguments or configuration (or another controller has the state folder),\n"
        "1 anything else.\n"
    )


def _faults_together(values: Values) -> list[str]:
    """Faults that show only when options are seen together."""
    faults = []
    if bool(values.all(TLS_CERT)) != bool(values.all(TLS_KEY)):
        given, missing = (TLS_CERT, TLS_KEY) if values.all(TLS_CERT) else (TLS_KEY, TLS_CERT)
        faults.append(f"{values.origin(given)}: needs {missing.flag} too")
    for listen in values.present(LISTEN):
        if not values.all(TOKENS_FILE) and not is_loopback(listen.host):
            faults.append(
                f"{values.origin(LISTEN)}: {listen} is not a loopback address, so others could change where requests"
                f" go; that needs {TOKENS_FILE.flag} (or listen on 127.0.0.1 or [::1])"
            )
    return faults
