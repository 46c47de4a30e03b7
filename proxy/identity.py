"""Who a request's caller is: believed only from mesh proxies whose networks the operator lists (`--identity-from`).

`Peers` is such a list; the preview gateway has one of its own (`--preview-auth-from`).
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from proxy.codec.edits import values_of
from proxy.codec.events import RequestHead
from proxy.routing.callers import IDENTITY_FIELD, Callers, identity_of

_REMEMBERED_AT_MOST: Final = 4096


class Peers:
    """Who is believed, by address."""

    __slots__ = ("_known", "_networks")

    def __init__(self, networks: Sequence[IPv4Network | IPv6Network] = ()) -> None:
        self._networks: Final = tuple(networks)
        self._known: dict[bytes, bool] = {}

    def include(self, peer: bytes) -> bool:
        """`peer`: an address, as `sides.Downstream` says it."""
        known = self._known.get(peer)
        if known is None:
            if len(self._known) >= _REMEMBERED_AT_MOST:
                self._known.clear()
            known = self._known[peer] = self._is_listed(peer)
        return known

    def _is_listed(self, peer: bytes) -> bool:
        try:
            address = ip_address(peer.decode("ascii", "replace").partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address.version == network.version and address in network for network in self._networks)


class Identities:
    """What peers may tell us who calls."""

    __slots__ = ("_peers",)

    def __init__(self, networks: Sequence[IPv4Network | IPv6Network] = ()) -> None:
        self._peers: Final = Peers(networks)

    def may_call(self, callers: Callers, head: RequestHead, peer: bytes) -> bool:
        """Whether the caller of this request is one of them. Cost: 5 us."""
        return self._peers.include(peer) and callers.include(identity_of(values_of(head, IDENTITY_FIELD)))
