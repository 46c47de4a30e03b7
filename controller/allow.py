"""Where a `local` target may be: inside the networks that the operator lists, or a name that the list says.

The proxies check again, after name resolution and at each connect (SPEC 4); this check is for the one who asks for the
target, who is told by a condition. So names stand here as they are written: `laptop.dev.example`, `*.dev.example`.
Link-local, multicast and unspecified addresses are no targets, whatever the list says.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from proxy.routing.faults import excerpt
from proxy.routing.names import is_dns_name

ALLOW_RULE: Final = "a network (10.0.0.0/8), a name or *.NAME"


class AllowList:
    """Networks and names. Without any, nothing is allowed."""

    def __init__(self, entries: Iterable[str] = ()) -> None:
        """Raises: ValueError for an entry that is neither."""
        networks: list[IPv4Network | IPv6Network] = []
        names: set[str] = set()
        suffixes: list[str] = []
        for entry in entries:
            try:
                networks.append(ip_network(entry))
            except ValueError:
                name = entry.removeprefix("*.")
                if not is_dns_name(name) or "/" in entry:
                    raise ValueError(f"must be {ALLOW_RULE}, is {excerpt(entry)}") from None
                if name == entry:
                    names.add(_name(name))
                else:
                    suffixes.append("." + _name(name))
        self._networks: Final = tuple(networks)
        self._names: Final = frozenset(names)
        self._suffixes: Final = tuple(suffixes)
        self._refusals: Final[dict[str, str | None]] = {}

    def refusal(self, host: str) -> str | None:
        """Why a valid host is no target, in a few words; None: it may be one."""
        if host not in self._refusals:
            if len(self._refusals) > 4096:
                self._refusals.clear()
            self._refusals[host] = self._check(host)
        return self._refusals[host]

    def _check(self, host: str) -> str | None:
        if is_dns_name(host):  # so nothing that a resolver would read as an address
            name = _name(host)
            return None if name in self._names or name.endswith(self._suffixes) else "is no allowed name"
        address = ip_address(host)
        if isinstance(address, IPv6Address):
            address = address.ipv4_mapped or address.sixtofour or address
        if address.is_unspecified or address.is_link_local or address.is_multicast:
            return "is never a target"
        if any(address.version == network.version and address in network for network in self._networks):
            return None
        return "is outside the allowed networks"


def _name(text: str) -> str:
    return text.lower().removesuffix(".")
