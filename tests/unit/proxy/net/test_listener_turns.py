"""Accepting where other processes have the same sockets. Real sockets: what is tested is what the kernel does."""

from __future__ import annotations

import asyncio
import socket
import time

from proxy.net.listener import Listener, bind
from proxy.routing.names import Endpoint


class Rota:
    """Says whose turn it is, and remembers when it was asked."""

    def __init__(self, *, is_ours: bool) -> None:
        self._is_ours = is_ours
        self.asked = 0

    def is_ours(self, starting: int) -> bool:
        self.asked += 1
        return self._is_ours


async def accepted_by(rotas: list[Rota], count: int) -> tuple[list[int], float]:
    """How many connections each of several listeners on one socket took, and how long it took."""
    [sock] = await bind(Endpoint("127.0.0.1", 0))
    taken = [0] * len(rotas)
    listeners = []
    is_done = asyncio.Event()
    for number, rota in enumerate(rotas):

        def protocol(number: int = number) -> asyncio.Protocol:
            taken[number] += 1
            if sum(taken) == count:
                is_done.set()
            return asyncio.Protocol()

        listeners.append(Listener([sock.dup()], protocol, turns=rota))
    began_s = time.monotonic()
    clients = [socket.create_connection(sock.getsockname()) for _ in range(count)]
    async with asyncio.timeout(10):
        await is_done.wait()
    took_s = time.monotonic() - began_s
    for each in (sock, *clients, *listeners):
        each.close()
    return taken, took_s


def test_who_has_its_turn_takes_them() -> None:
    taken, _ = asyncio.run(accepted_by([Rota(is_ours=True), Rota(is_ours=False)], 3))
    assert taken == [3, 0]


def test_nobody_waits_for_a_turn_that_nobody_takes() -> None:
    taken, took_s = asyncio.run(accepted_by([Rota(is_ours=False)], 40))
    assert taken == [40]
    assert took_s < 2


def test_the_end_does_not_ask_whose_turn_it_is() -> None:
    async def run() -> None:
        [sock] = await bind(Endpoint("127.0.0.1", 0))
        address = sock.getsockname()
        rota = Rota(is_ours=False)
        taken: list[int] = []

        def protocol() -> asyncio.Protocol:
            taken.append(1)
            return asyncio.Protocol()

        listener = Listener([sock], protocol, turns=rota)
        clients = [socket.create_connection(address) for _ in range(20)]
        await listener.stop(5)
        assert len(taken) == 20
        for client in clients:
            client.close()

    asyncio.run(run())
