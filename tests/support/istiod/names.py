"""Hosts and gateways by their full names, and which names a service is called by."""

from __future__ import annotations

import ipaddress

DOMAIN = "cluster.local"
MESH = "mesh"


def full_host(host: str, namespace: str) -> str:
    """(config.go: ResolveShortnameToFQDN)"""
    if not host or host == "*" or "." in host or is_address(host):
        return host
    return f"{host}.{namespace}.svc.{DOMAIN}"


def full_gateway(name: str, namespace: str) -> str:
    """(config.go: resolveGatewayName)"""
    if name == MESH:
        return name
    before, slash, after = name.partition("/")
    if slash:
        return f"{namespace}/{after}" if before == "." else name
    if "." not in name:
        return f"{namespace}/{name}"
    parts = name.split(".")
    return f"{parts[1]}/{parts[0]}"


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_wildcard(host: str) -> bool:
    return host.startswith("*")


def covers(wildcard: str, host: str) -> bool:
    """Whether names of both overlap (pkg/config/host/name.go: Matches)."""
    if is_wildcard(wildcard) and is_wildcard(host):
        longer, shorter = (wildcard, host) if len(wildcard) >= len(host) else (host, wildcard)
        return longer[1:].endswith(shorter[1:])
    if is_wildcard(wildcard):
        return host.endswith(wildcard[1:])
    if is_wildcard(host):
        return wildcard.endswith(host[1:])
    return wildcard == host


def by_specificity(host: str) -> tuple[bool, int, str]:
    """Sorts the most specific first (pkg/config/host/names.go: MoreSpecific)."""
    return is_wildcard(host), -len(host), host


def domains(host: str, namespace: str) -> list[str]:
    """What a caller in the namespace may call a Kubernetes Service, the full name first. Ports are ignored where hosts
    are matched (httproute.go: generateVirtualHostDomains, GenerateAltVirtualHosts)."""
    found = [host]
    if is_address(host) or is_wildcard(host):
        return found
    found.append(f"{host}.")
    name, _, rest = host.partition(".")
    if rest.endswith(f".svc.{DOMAIN}"):
        service_namespace = rest.removesuffix(f".svc.{DOMAIN}")
        if service_namespace == namespace:
            found.append(name)
        found += [f"{name}.{service_namespace}.svc", f"{name}.{service_namespace}"]
    return found
