"""Names: which host a word in a manifest means, and how our objects and routes are called.

A host without a dot means the Service of that name in the namespace of the object that says it; every other host is
taken as it stands, also `location.hotrod` (istio/istio pilot/pkg/model/config.go, ResolveShortnameToFQDN). Case does
not matter. The cluster's domain is `cluster.local`.

What is ours is named `pointsman-...`: routes in lists that are shared with their owner, and whole objects.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from ipaddress import ip_address
from typing import Final

CLUSTER_DOMAIN: Final = "cluster.local"
PREFIX: Final = "pointsman-"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGER: Final = "pointsman"
OPT_OUT: Final = "pointsman.dev/istio"  # an annotation; "off": nothing of ours

_MAX_OBJECT_NAME: Final = 63  # a VirtualService may have 253; whatever names an object in a label has 63
_MAX_SANDBOX: Final = 40  # of its name in a route's name, which stands in access logs and statistics
_FOREIGN: Final = re.compile(r"[^a-z0-9.-]+")
_NO_WORD: Final = re.compile(r"[^A-Za-z0-9._-]+")
_OURS: Final = re.compile(rf"{PREFIX}(?:[A-Za-z0-9._-]+-)?[0-9a-f]{{10}}")
_DIGEST: Final = 10  # hex digits: 1,000 routes of one list collide once in 2,000,000 lists


def full_host(host: str, namespace: str) -> str:
    """The host as the mesh knows it."""
    host = host.lower()
    if "." in host or host == "*" or is_address(host):
        return host
    return service_host(host, namespace)


def service_host(name: str, namespace: str) -> str:
    return f"{name}.{namespace}.svc.{CLUSTER_DOMAIN}"


def service_of(host: str) -> tuple[str, str] | None:
    """Name and namespace of the Service that a full host means; None: it is no Service's."""
    name, _, rest = host.partition(".")
    namespace, _, domain = rest.partition(".")
    return (name, namespace) if name and namespace and domain == f"svc.{CLUSTER_DOMAIN}" else None


def destination_host(host: str, namespace: str) -> str:
    """A destination of the routing table as the mesh knows it. The table's hosts are names as a pod of that namespace
    would look them up, so what Kubernetes' resolver completes is completed."""
    host = host.lower().removesuffix(".")
    return f"{host}.{CLUSTER_DOMAIN}" if host.endswith(".svc") else full_host(host, namespace)


def is_address(host: str) -> bool:
    if not (host[:1].isdigit() or ":" in host):
        return False
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def covers(pattern: str, host: str) -> bool:
    """Whether a host of a VirtualService, maybe `*` or `*.example`, means this host too."""
    return pattern == host or (pattern.startswith("*") and host.endswith(pattern[1:]))


def object_name(host: str, namespace: str) -> str:
    """Our object for a host: `pointsman-location` for a Service of its namespace, else the whole host."""
    service = service_of(host)
    text = service[0] if service is not None and service[1] == namespace else host
    text = _FOREIGN.sub("-", text.replace("*", "any")).strip(".-") or "host"
    if len(PREFIX + text) > _MAX_OBJECT_NAME:
        text = f"{text[: _MAX_OBJECT_NAME - len(PREFIX) - _DIGEST - 1].rstrip('.-')}-{digest(text)}"
    return PREFIX + text


def route_name(what: str, *identity: object) -> str:
    """A route of ours: what it is for, and a digest of all that tells it from others."""
    what = _NO_WORD.sub("-", what)[:_MAX_SANDBOX].strip("-")
    return f"{PREFIX}{what}-{digest(*identity)}" if what else f"{PREFIX}{digest(*identity)}"


def digest(*identity: object) -> str:
    return sha256("\0".join(map(str, identity)).encode()).hexdigest()[:_DIGEST]


def is_our_route(route: Mapping[str, object]) -> bool:
    """Whether a route in a list of somebody else is ours, by a name that `route_name` makes: `pointsman-ui` is a word
    that an owner may choose. A delegating route never is: its owner made it for us."""
    name = route.get("name")
    return isinstance(name, str) and _OURS.fullmatch(name) is not None and route.get("delegate") is None
