"""Endpoints in use, the addresses behind them, and which address a request goes to.

An endpoint is what a table names, a target what became of it here: a literal has one address for ever, a name those of
its last look-up. Of two addresses picked at random the less loaded one is taken, which spreads load nearly as evenly as
looking at all of them, and does not send everybody to the same one at once (Mitzenmacher, "The power of two choices").

An address whose connections fail is set aside for a while that doubles from one failure to the next; when it is over,
one request tries it and the others wait for what comes of it. If all are set aside, none is: a request is better tried
than refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from math import inf
from random import random
from typing import TYPE_CHECKING, Final

from proxy.errors import Reason
from proxy.routing.names import Endpoint

if TYPE_CHECKING:
    from proxy.net.h2_upstream import H2Upstream
    from proxy.net.upstream import H1Upstream

_log = logging.getLogger(__name__)

_FIRST_ASIDE_S: Final = 1.0
_MOST_ASIDE_S: Final = 30.0
_TRIAL_S: Final = 5.0  # as long as a connect may take


class Address:
    """One address (a literal) of an endpoint, with its idle connections, the last used at the end."""

    __slots__ = (
        "_aside_s",
        "_is_on_trial",
        "aside_until_s",
        "connections",
        "endpoint",
        "host",
        "idle",
        "is_gone",
        "is_spare",
        "opening",
        "shared",
    )

    def __init__(self, endpoint: Endpoint, host: str) -> None:
        self.endpoint = endpoint
        self.host = host
        self.is_spare = False  # IPv6 where there is IPv4: most likely the same place, so only if the others fail
        self.idle: list[H1Upstream] = []
        self.shared: list[H2Upstream] = []  # that may have room for another stream
        self.opening: asyncio.Task[H2Upstream | Reason] | None = None  # of another one, for all who wait
        self.connections = 0  # open ones, idle ones among them, and those that are being made
        self.aside_until_s = 0.0
        self._aside_s = 0.0  # how long it was set aside last; 0: its last connection was good
        self._is_on_trial = False
        self.is_gone = False  # no table or look-up names it any more: connections end after their request

    @property
    def load(self) -> int:
        """How many requests it serves, about."""
        load = self.connections - len(self.idle)
        for connection in self.shared:
            load += len(connection.streams)
        return load

    @property
    def _name(self) -> str:
        endpoint = str(self.endpoint)
        return endpoint if self.host == self.endpoint.host else f"{endpoint} ({self.host})"

    @property
    def is_failing(self) -> bool:
        return self._aside_s > 0

    def failed(self, now_s: float, why: str) -> None:
        """A connection was refused, or broke before it answered. Many that fail at once count as one."""
        if self.aside_until_s > now_s and not self._is_on_trial:
            return
        if not self._aside_s:
            _log.warning("%s fails, is it up? %s", self._name, why)
        self._is_on_trial = False
        self._aside_s = min(max(_FIRST_ASIDE_S, self._aside_s * 2), _MOST_ASIDE_S)
        self.aside_until_s = now_s + self._aside_s

    def succeeded(self) -> None:
        if self._aside_s:
            _log.info("%s answers again", self._name)
        self._is_on_trial = False
        self._aside_s = self.aside_until_s = 0.0

    def try_again(self, now_s: float) -> None:
        """One request goes there; the others wait for what comes of it, but not for ever."""
        self._is_on_trial = True
        self.aside_until_s = now_s + _TRIAL_S

    def leave(self) -> None:
        """Out of use: idle connections close at once, the others after their request."""
        self.is_gone = True
        while self.idle:
            self.idle.pop().close()
        for connection in list(self.shared):
            connection.leave()


class Target:
    """An endpoint in use. `expires_s`: when its addresses must be looked up again."""

    __slots__ = ("addresses", "endpoint", "expires_s", "is_gone", "is_known", "look_up", "looked_up_s")

    def __init__(self, endpoint: Endpoint, *, is_literal: bool, is_gone: bool = False) -> None:
        self.endpoint = endpoint
        self.addresses: list[Address] = []
        self.is_gone = is_gone  # no table names it: its connections end after one request
        self.is_known = False  # looked up at least once
        self.look_up: asyncio.Task[None] | None = None  # the last one
        self.looked_up_s = 0.0
        self.expires_s = 0.0
        if is_literal:
            self.found([endpoint.host], inf)

    def found(self, hosts: Sequence[str], expires_s: float) -> None:
        """A look-up's result. Addresses that were there before stay what they are."""
        known = {address.host: address for address in self.addresses}
        self.addresses = []
        has_ipv4 = any(":" not in host for host in hosts)
        for host in dict.fromkeys(hosts):
            address = known.pop(host, None)
            if address is None:
                address = Address(self.endpoint, host)
            address.is_gone = self.is_gone
            address.is_spare = has_ipv4 and ":" in host
            self.addresses.append(address)
        for address in known.values():
            address.leave()
        self.is_known = True
        self.expires_s = expires_s

    def leave(self) -> None:
        for address in self.addresses:
            address.leave()


def pick(addresses: Sequence[Address], now_s: float) -> Address:
    """One of at least one: the less loaded of two random ones that are not set aside."""
    usable = [address for address in addresses if address.aside_until_s <= now_s] or addresses
    usable = [address for address in usable if not address.is_spare] or usable
    count = len(usable)
    first = usable[int(random() * count)]
    second = usable[int(random() * count)]
    return second if second.load < first.load else first


def in_order(addresses: Sequence[Address], now_s: float) -> list[Address]:
    """All of them, in the order in which a new connection tries them: one whose time aside is over, or else the picked
    one, first; those set aside last."""
    if len(addresses) < 2:
        return list(addresses)
    due = [address for address in addresses if address.is_failing and address.aside_until_s <= now_s]
    if due and not all(address.is_failing for address in addresses):
        first = due[0]
        first.try_again(now_s)
    else:
        first = pick(addresses, now_s)
    rest = [address for address in addresses if address is not first]
    rest.sort(key=lambda address: (address.aside_until_s > now_s, address.is_spare, address.load, random()))
    return [first, *rest]
