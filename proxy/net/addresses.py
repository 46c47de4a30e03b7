"""Addresses that are never connected to, whatever a table says (SPEC 4). Checked after name resolution, each time."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

# Services outside the link-local ranges that hand a machine its metadata and credentials, by their clouds' documents.
_METADATA: Final = frozenset(
    map(
        ip_address,
        (
            "fd00:ec2::254",  # AWS, instance metadata
            "fd00:ec2::23",  # AWS, EKS pod identity
            "fd20:ce::254",  # Google Cloud
            "fd00:c1::a9fe:a9fe",  # Oracle Cloud
            "fd00:42::42",  # Scaleway
            "168.63.129.16",  # Azure, wire server
            "100.100.100.200",  # Alibaba Cloud
        ),
    )
)


def is_address(host: str) -> bool:
    """Whether it is an IPv4 or IPv6 literal, so that nothing is left to resolve."""
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


class DestinationPolicy:
    """Refuses link-local and metadata addresses and the proxy's own listeners."""

    __slots__ = ("_cache", "_own")

    def __init__(self) -> None:
        self._own: set[tuple[IPv4Address | IPv6Address, int]] = set()
        self._cache: dict[tuple[str, int], bool] = {}

    def add_own(self, listening: Iterable[tuple[str, int]]) -> None:
        """Addresses that this process listens on."""
        self._own.update((ip_address(host), port) for host, port in listening)
        self._cache.clear()

    def is_refused(self, host: str, port: int) -> bool:
        """Whether this address (a literal) and port must not be connected to."""
        refused = self._cache.get((host, port))
        if refused is None:
            if len(self._cache) > 4096:
                self._cache.clear()
            refused = self._cache[host, port] = self._check(host, port)
        return refused

    def _check(self, host: str, port: int) -> bool:
        address = ip_address(host.partition("%")[0])
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if address.is_link_local or address.is_unspecified or address.is_multicast or address in _METADATA:
            return True
        return any(
            own_port == port and (own == address or (own.is_unspecified and address.is_loopback))
            for own, own_port in self._own
        )
