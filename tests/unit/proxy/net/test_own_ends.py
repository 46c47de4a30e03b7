"""Which accepted connections are this proxy's own, led back to it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from proxy import errors
from proxy.codec.fields import request_kinds
from proxy.codec.h1.reader import HeadLimits
from proxy.net.connections import Connections
from proxy.telemetry.metrics import Metrics
from tests.support.net import TIMEOUTS, new_pool
from tests.support.transport import FakeSocket

OURS = ("127.0.0.1", 40000)
HERE = ("127.0.0.1", 16006)
ELSEWHERE = ("127.0.0.1", 8081)


class StubTransport:
    """A connection that came from `ours` to `here`; iptables may have redirected it from another place."""

    def __init__(self, redirected_from: tuple[str, int] | None, ours: object = OURS, here: object = HERE) -> None:
        self._info = {"peername": ours, "sockname": here, "socket": FakeSocket(redirected_from)}

    def get_extra_info(self, name: str) -> object:
        return self._info[name]


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
    assert _is_own(own_ends, StubTransport(redirected_from)) == is_own


@pytest.mark.parametrize(
    ("remote", "redirected_from", "is_own"),
    [
        (("::1", 8081, 0, 0), None, False),
        (("::1", 16006, 0, 0), None, True),
        (("::1", 8081, 0, 0), ("::1", 8081), True),
        (("::1", 8081, 0, 0), ("::1", 8082), False),
    ],
)
@pytest.mark.usefixtures("loop")
def test_is_own_by_ipv6(remote: object, redirected_from: tuple[str, int] | None, is_own: bool) -> None:
    ours = ("::1", 40000, 0, 0)
    assert _is_own({ours: [remote]}, StubTransport(redirected_from, ours, ("::1", 16006, 0, 0))) == is_own


def _is_own(own_ends: dict[Any, Any], transport: StubTransport) -> bool:
    pool = new_pool()
    pool.own_ends.update(own_ends)
    kinds = request_kinds(errors.BAD_REQUEST)
    connections = Connections(kinds, kinds, HeadLimits(), 1, 100, TIMEOUTS, pool, Metrics())
    return connections.is_own(cast(asyncio.Transport, transport))
