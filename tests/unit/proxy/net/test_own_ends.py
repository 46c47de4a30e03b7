"""Which accepted connections are this proxy's own, led back to it."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any, cast

import pytest

from proxy import errors
from proxy.codec.fields import request_kinds
from proxy.codec.h1.reader import HeadLimits
from proxy.net.connections import Connections
from proxy.telemetry.metrics import Metrics
from tests.support.net import TIMEOUTS, new_pool

OURS = ("127.0.0.1", 40000)
HERE = ("127.0.0.1", 16006)
ELSEWHERE = ("127.0.0.1", 8081)


class StubTransport:
    """A connection that came from `OURS` to `HERE`; iptables may have redirected it from another place."""

    def __init__(self, redirected_from: tuple[str, int] | None) -> None:
        self._redirected_from = redirected_from

    def get_extra_info(self, name: str) -> object:
        return {"peername": OURS, "sockname": HERE, "socket": self}[name]

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        if self._redirected_from is None:
            raise OSError
        host, port = self._redirected_from
        return struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, socket.inet_aton(host))


@pytest.mark.parametrize(
    ("own_ends", "redirected_from", "is_own"),
    [
        ({}, None, False),
        ({("127.0.0.1", 40001): [HERE]}, None, False),
        ({OURS: [HERE]}, None, True),
        ({OURS: [ELSEWHERE, HERE]}, None, True),
        ({OURS: [ELSEWHERE]}, None, False),  # one port, two connections
        ({OURS: [ELSEWHERE]}, ELSEWHERE, True),
        ({OURS: [ELSEWHERE]}, ("127.0.0.1", 9), False),
        ({OURS: [("10.0.0.5", 80)]}, None, True),  # a balancer may have led it here
        ({OURS: [("::1%lo", 80, 0, 0)]}, None, False),
    ],
)
@pytest.mark.usefixtures("loop")
def test_is_own(own_ends: dict[Any, Any], redirected_from: tuple[str, int] | None, is_own: bool) -> None:
    pool = new_pool()
    pool.own_ends.update(own_ends)
    kinds = request_kinds(errors.BAD_REQUEST)
    connections = Connections(kinds, kinds, HeadLimits(), 1, 100, TIMEOUTS, pool, Metrics())
    assert connections.is_own(cast(asyncio.Transport, StubTransport(redirected_from))) == is_own
