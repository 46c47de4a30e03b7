"""The options of commands, one row each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from controller.times import DURATION_RULE, TIMESTAMP_RULE, parse_duration, parse_timestamp
from pointsman.client import Client
from proxy.options import Option, choice, plain, switch, whole
from proxy.routing.names import Endpoint, Workload, is_dns_name, is_token

DEFAULT_NAMESPACE: Final = "default"

_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")  # as controller.grammar, which costs more to import
_TIMEOUT: Final = re.compile(r"([0-9]{1,8}(?:\.[0-9]{1,3})?)(ms|s|m|h)?")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_MAX_TIMEOUT_S: Final = 86400.0
_RELEASE: Final = re.compile(r"v?([0-9]{1,3})\.([0-9]{1,3})(?=[.-]|\Z)")
_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")


def controller_url(text: str) -> str:
    Client(text)
    return text


def key_name(text: str) -> bytes:
    """As the proxy's --key-name."""
    from proxy.flags import key_name as of_the_proxy  # only here: most commands do without

    return of_the_proxy(text)


def namespace(text: str) -> str:
    if _NAME.fullmatch(text) is None:
        raise ValueError(f"must be 1-63 of a-z 0-9 -, first and last alphanumeric, is {text!r}")
    return text


def timeout(text: str) -> float:
    """`90s`, `10m`, `0.5s`; a bare number is seconds."""
    match = _TIMEOUT.fullmatch(text)
    seconds = float(match[1]) * _UNITS[match[2] or "s"] if match is not None else -1.0
    if not 0 <= seconds <= _MAX_TIMEOUT_S:
        raise ValueError(f"must be a duration like 90s, 10m or 2h, at most a day, is {text!r}")
    return seconds


def since(text: str) -> str:
    """A time, or how long ago; the controller's clock counts. A bare number is seconds."""
    text = f"{text}s" if text.isascii() and text.isdecimal() else text
    if parse_duration(text) is None and parse_timestamp(text) is None:
        raise ValueError(f"must be {DURATION_RULE.partition(',')[0]}, or {TIMESTAMP_RULE}, is {text!r}")
    return text


class Selector:
    """Labels that an object must have (`pr=123`, `pr`) or must not (`pr!=123`, `!pr`), all of them."""

    def __init__(self, text: str) -> None:
        self._terms: Final[list[tuple[str, str | None, bool]]] = []  # label, value or any, is wanted
        for term in text.split(","):
            name, equals, value = term.strip().replace("==", "=").partition("=")
            wanted = not name.startswith("!") and not name.endswith("!")
            name = name.strip("! ")
            if _LABEL.fullmatch(name) is None:
                raise ValueError(f"must be labels like pr=123,team!=web, is {text!r}")
            self._terms.append((name, value.strip() if equals else None, wanted))

    def matches(self, labels: object) -> bool:
        found = labels if isinstance(labels, dict) else {}
        return all(
            (name in found and (value is None or found[name] == value)) is wanted for name, value, wanted in self._terms
        )


def header_field(text: str) -> tuple[bytes, bytes]:
    """`name: value`, as in a request head."""
    name, colon, value = text.encode("utf-8", "surrogateescape").partition(b":")
    if not colon or not is_token(name):
        raise ValueError(f"must be 'name: value', is {text!r}")
    if b"\r" in value or b"\n" in value or b"\0" in value:
        raise ValueError(f"must be one line, is {text!r}")
    return name, value.strip(b" \t")


CONTROLLER: Final = Option(
    "controller", "URL", controller_url, "where the controller is", default="http://127.0.0.1:16030"
)
TOKEN_FILE: Final = Option(
    "token-file", "FILE", plain, "holds the token that the controller asks for", default_text="none: no token is sent"
)
CONTROLLER_CA: Final = Option(
    "controller-ca",
    "FILE",
    plain,
    "certificates of the authorities that the controller's may come from, PEM",
    default_text="the system's",
)
NAMESPACE: Final = Option(
    "namespace", "NAMESPACE", namespace, "namespace of the objects", default_text=DEFAULT_NAMESPACE
)
OUTPUT: Final = Option(
    "output",
    "table|json",
    choice("table", "json"),
    "what stdout gets: tables for people, or one JSON document for programs",
    default="table",
)
FILE: Final = Option(
    "file",
    "FILE",
    plain,
    "objects to apply, YAML or JSON, one or several in a file; - is standard input",
    repeatable=True,
    required=True,
)
WAIT: Final = Option("wait", "", switch, "wait until every proxy that is concerned says that it has it", default="off")
WAIT_GONE: Final = Option("wait", "", switch, "wait until proxies are told and the object is gone", default="off")
TIMEOUT: Final = Option(
    "timeout",
    "DURATION",
    timeout,
    "how long to wait at most",
    default="60s",
    why="a proxy that comes back from a break dials within 10 s",
)
DRY_RUN: Final = Option("dry-run", "", switch, "let the controller check everything, and change nothing", default="off")
DIFF: Final = Option("diff", "", switch, "show what changes, line by line", default="off")
ALL_NAMESPACES: Final = Option("all-namespaces", "", switch, "objects of all namespaces", default="off")
SELECTOR: Final = Option(
    "selector", "LABELS", Selector, "only objects with these labels: pr=123,team!=web", default_text="all"
)
SINCE: Final = Option(
    "since", "TIME", since, "count from then on: how long ago (10m) or when (2026-11-25T10:00:00Z)", default="1h"
)
SINCE_START: Final = Option(
    "since",
    "TIME",
    since,
    "when the test began: how long ago (10m) or when (2026-11-25T10:00:00Z)",
    required=True,
)

WORKLOAD: Final = Option("workload", "NS/KIND/NAME", Workload.parse, "workload that the request is for", required=True)
PORT: Final = Option(
    "port",
    "PORT",
    whole(1, 65535),
    "the workload's port that the request arrives at",
    default_text="the first that the table maps for this workload",
)
HEADER: Final = Option("header", "'NAME: VALUE'", header_field, "one field of the request", repeatable=True)
JSON: Final = Option("json", "", switch, "the same as --output json", default="off")

# --- of `pointsman istio`


def router_address(text: str) -> Endpoint:
    """HOST:PORT of a Service, which means the same in every namespace."""
    host, colon, port = text.rpartition(":")
    host = host.lower().removesuffix(".")
    if not colon or not port.isdecimal() or not 1 <= int(port) <= 65535 or not is_dns_name(host) or "." not in host:
        raise ValueError(f"must be NAME.NAMESPACE:PORT or a host's full name and port, is {text!r}")
    if host.count(".") == 1:
        host += ".svc"
    return Endpoint(f"{host}.cluster.local" if host.endswith(".svc") else host, int(port))


def release(text: str) -> tuple[int, int]:
    """Of Istio: `1.30`, `1.30.3`, `v1.30.3-patch`."""
    match = _RELEASE.match(text)
    if match is None:
        raise ValueError(f"must be a release like 1.30.3, is {text!r}")
    return int(match[1]), int(match[2])


def manifest_output(text: str) -> str:
    # The variable POINTSMAN_OUTPUT is also of commands that print tables.
    return choice("yaml", "json")("yaml" if text == "table" else text)


MESH_FILE: Final = Option(
    "file",
    "DIR|FILE",
    plain,
    "sandboxes, route groups or routing tables, and the mesh's manifests: VirtualServices (or HTTPRoutes and"
    " GRPCRoutes), Services, workloads, DestinationRules, ServiceEntries, Namespaces; others are passed over; - is"
    " standard input",
    repeatable=True,
    required=True,
)
API: Final = Option(
    "api",
    "istio|gateway",
    choice("istio", "gateway"),
    "istio: VirtualServices; gateway: the Gateway API's HTTPRoutes and GRPCRoutes for a mesh",
    default="istio",
)
ISTIO_MODE: Final = Option(
    "istio-mode",
    "rules|router",
    choice("rules", "router"),
    "rules: routes for each sandbox; router: one constant route per host, to a router that decides",
    default="rules",
)
KEY_NAME: Final = Option(
    "key-name",
    "NAME",
    key_name,
    "name of a baggage or tracestate member that holds the routing key; the order is the precedence",
    default="sd-routing-key,sd-sandbox",
    why="what the SDKs and tests of today send",
    repeatable=True,
)
ROUTER: Final = Option(
    "router",
    "HOST:PORT",
    router_address,
    "Service of the routers, as NAME.NAMESPACE:PORT; in rules mode what is too large for rules goes there",
    default_text="none; needed in router mode",
)
REGEX: Final = Option(
    "regex",
    "strict|signadot",
    choice("strict", "signadot"),
    "how a key is matched: strict is as the proxy reads it, signadot the loose form that teams use today",
    default="strict",
    why="the loose one takes other members and keys too",
)
OWN: Final = Option(
    "own",
    "delegate|patch",
    choice("delegate", "patch"),
    "where our routes stand: in a delegate that the owner's list includes, or in the owner's list",
    default="delegate",
    why="a list of routes has one owner",
)
REMOVE: Final = Option("remove", "", switch, "take everything of ours out instead", default="off")
MANIFEST_DIFF: Final = Option(
    "diff", "", switch, "show what changes against the files, in place of the objects", default="off"
)
ISTIO_VERSION: Final = Option(
    "istio-version",
    "RELEASE",
    release,
    "Istio's release: one that can't do what the routes need is refused",
    default_text="new enough",
)
MANIFEST_OUTPUT: Final = Option(
    "output",
    "yaml|json",
    manifest_output,
    "what stdout gets: YAML documents for kubectl, or one JSON document for programs",
    default="yaml",
)

SHORT: Final = {"-f": FILE, "-n": NAMESPACE, "-o": OUTPUT, "-l": SELECTOR, "-A": ALL_NAMESPACES}


def shorts(options: Sequence[Option[object]]) -> dict[str, Option[object]]:
    """The short forms of these options."""
    return {short: option for short, row in SHORT.items() for option in options if option.name == row.name}


CONNECTION: Final[tuple[Option[object], ...]] = (CONTROLLER, TOKEN_FILE, CONTROLLER_CA)
OBJECTS: Final[tuple[Option[object], ...]] = (*CONNECTION, NAMESPACE, OUTPUT)
