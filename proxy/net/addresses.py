"""Where a destination may not be, whatever a table says (SPEC 4). Checked after name resolution, at each connect."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from proxy.routing.names import Endpoint

Network = IPv4Network | IPv6Network

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
    """Refuses the proxy's own listeners, link-local and metadata addresses, and whatever `allowed` does not list.

    `baselines` are the operator's own choice, kept and not copied; one that leads back here is noticed when it arrives
    (508). `loopback`: whether destinations may be there where `allowed` is empty (a table from a file, SPEC 4).
    """

    __slots__ = ("_allowed", "_baselines", "_cache", "_loopback", "_own")

    def __init__(
        self, baselines: Collection[Endpoint] = (), allowed: Sequence[Network] = (), *, loopback: bool = True
    ) -> None:
        self._baselines: Final = baselines
        self._allowed: Final = tuple(allowed)
        self._loopback: Final = loopback
        self._own: set[tuple[IPv4Address | IPv6Address, int]] = set()
        self._cache: dict[tuple[str, Endpoint], bool] = {}

    def add_own(self, listening: Iterable[tuple[str, int]]) -> None:
        """Addresses that this process listens on."""
        self._own.update((ip_address(host), port) for host, port in listening)
        self._cache.clear()

    def is_refused(self, host: str, endpoint: Endpoint) -> bool:
        """Whether this address (a literal) of an endpoint must not be connected to."""
        if endpoint in self._baselines:
            return _address(host).is_unspecified
        refused = self._cache.get((host, endpoint))
        if refused is None:
            if len(self._cache) > 4096:
                self._cache.clear()
            refused = self._cache[host, endpoint] = self._check(host, endpoint)
        return refused

    def _check(self, host: str, endpoint: Endpoint) -> bool:
        address = _address(host)
        if address.is_unspecified:
            return True  # it is this machine, whichever way it is written
        if self._is_own(address, endpoint.port):
            return True
        if address.is_link_local or address.is_multicast or address in _METADATA:
            return True
        if self._allowed:
            return not any(address.version == network.version and address in network for network in self._allowed)
        return address.is_loopback and not self._loopback

    def _is_own(self, address: IPv4Address | IPv6Address, port: int) -> bool:
        for own, own_port in self._own:
            if own_port == port and (own == address or (own.is_unspecified and _is_local(address))):
                return True
        return False

    def is_own(self, host: str, port: int) -> bool:
        """Whether this process listens there itself."""
        return self._is_own(_address(host), port)


def may_arrive(host: str, here: str) -> bool:
    """Whether a captured connection may go on to `host`, which it was on its way to; `here`: where it was led.

    It must be an address of this machine: whatever else is led through here (a machine that forwards) is none of ours.
    Loopback is this machine's own alone: packets for 127.0.0.1 that a neighbour sends are led to the listener before
    the kernel gets to drop them. REDIRECT leads those that came by loopback to a loopback address, and only those.
    Link-local addresses mean nothing without their interface.
    """
    address = _address(host)
    if address.is_loopback:
        return _address(here).is_loopback
    return not address.is_unspecified and not address.is_link_local and _is_local(address)


def _address(host: str) -> IPv4Address | IPv6Address:
    address = ip_address(host.partition("%")[0])
    return (_embedded(address) or address) if isinstance(address, IPv6Address) else address


def _is_local(address: IPv4Address | IPv6Address) -> bool:
    """Whether it is one of this machine's: only those can be bound to."""
    if address.is_loopback:
        return True
    try:
        with socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for: mapped (RFC 4291), 6to4 (RFC 3056), NAT64 (RFC 6052)."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour


_NAT64: Final = IPv6Network("64:ff9b::/96")
