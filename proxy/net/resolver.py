"""Host names to addresses, with how long they hold. c-ares (aiodns) asks: it does not block, and tells the TTL, which
`getaddrinfo` keeps to itself. It reads /etc/resolv.conf and /etc/hosts as the system does (search domains, ndots).

It is imported at the first name: a sidecar whose table holds addresses only does not pay for it (35 ms, 2 MB).
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from aiodns import DNSResolver

# A TTL of 0 forbids caching (and is what /etc/hosts gives); a second is what kept connections make of it anyway.
_LEAST_TTL_S: Final = 1.0
# However long a TTL is, a change is noticed in this time.
_MOST_TTL_S: Final = 300.0
_TIMEOUT_S: Final = 2.0
_TRIES: Final = 3

_NO_DATA: Final = 1  # ARES_ENODATA: the name exists and has no address
_NOT_FOUND: Final = 4  # ARES_ENOTFOUND


class LookUpFailed(OSError):
    """No answer, or no usable one: what was known before may still be true."""


class Resolver:
    """Looks names up. `servers` (address or address:port): whom it asks, in place of /etc/resolv.conf."""

    __slots__ = ("_asks", "_servers")

    def __init__(self, servers: Sequence[str] = ()) -> None:
        self._servers: Final = tuple(servers)
        self._asks: DNSResolver | None = None

    async def look_up(self, host: str) -> tuple[list[str], float]:
        """The addresses of a name, IPv4 first, and how many seconds they hold; none if there is no such name.

        Raises: LookUpFailed if nobody could tell.
        """
        from aiodns.error import DNSError

        try:
            result = await self._resolver().getaddrinfo(host, family=socket.AF_UNSPEC, type=socket.SOCK_STREAM)
        except DNSError as error:
            if error.args[0] in (_NO_DATA, _NOT_FOUND):
                return [], _LEAST_TTL_S
            raise LookUpFailed(f"{host}: {error.args[-1]}") from None
        nodes = sorted(result.nodes, key=lambda node: node.family == socket.AF_INET6)
        ttls = [node.ttl for node in nodes] + [cname.ttl for cname in result.cnames]
        return [_text(node.addr[0]) for node in nodes], min(max(min(ttls, default=0), _LEAST_TTL_S), _MOST_TTL_S)

    def _resolver(self) -> DNSResolver:
        if self._asks is None:
            from aiodns import DNSResolver

            self._asks = DNSResolver(self._servers or None, timeout=_TIMEOUT_S, tries=_TRIES)
        return self._asks


def _text(address: bytes | str) -> str:
    return address.decode("ascii") if isinstance(address, bytes) else address
