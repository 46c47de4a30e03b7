"""The connection itself, with its times made short: peers that stop, in each place where one can."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from proxy.feed import link as link_module
from proxy.feed.link import Controller, Link, _wait_s
from proxy.feed.messages import Hello
from proxy.feed.receiver import Receiver
from proxy.feed.report import Reporter
from proxy.routing.names import Workload
from proxy.tables import TableHolder
from proxy.telemetry.traffic import KeyTraffic
from tests.support.proxy import WORKLOAD, table

ME = Workload.parse(WORKLOAD)
Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(autouse=True)
def _short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value_s in (
        ("HEARTBEAT_S", 0.05),
        ("HEARTBEAT_TIMEOUT_S", 0.1),
        ("_OPEN_TIMEOUT_S", 0.2),
        ("_CLOSE_TIMEOUT_S", 0.1),
        ("_STALLED_S", 0.3),
    ):
        monkeypatch.setattr(link_module, name, value_s)


async def shake_hands(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    key = re.search(r"Sec-WebSocket-Key: (\S+)", head)
    assert key is not None
    accept = base64.b64encode(hashlib.sha1(f"{key[1]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()
    writer.write(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: pointsman.feed.v1\r\n\r\n".encode()
    )


def frame(message: dict[str, object]) -> bytes:
    data = json.dumps(message).encode()
    return b"\x81\x7e" + len(data).to_bytes(2, "big") + data


SNAPSHOT: dict[str, object] = {"type": "snapshot", "nonce": "n", "position": 1, "version": "v1", "document": table()}


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(-1)


async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers no ping, and sends half of a message."""
    await shake_hands(reader, writer)
    writer.write(frame(SNAPSHOT) + frame(SNAPSHOT)[:50])
    await reader.read(-1)


async def stopping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Lives, but does not go on with its snapshot."""
    await shake_hands(reader, writer)
    writer.write(frame(SNAPSHOT | {"isLast": False}))
    while len(head := await reader.read(2)) == 2:
        length = head[1] & 0x7F
        if length == 126:
            length = int.from_bytes(await reader.readexactly(2), "big")
        data = await reader.readexactly(4 + length)
        if head[0] == 0x89:
            payload = bytes(byte ^ data[place % 4] for place, byte in enumerate(data[4:]))
            writer.write(b"\x8a" + bytes([len(payload)]) + payload)


async def of_another_protocol(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"SSH-2.0-OpenSSH\r\n" * 5)
    await reader.read(-1)


def linked(
    speak: Speak,
    then: Callable[[Link, TableHolder], Coroutine[Any, Any, None]],
    *,
    traffic: KeyTraffic | None = None,
) -> None:
    """Runs a link to this peer."""

    async def run() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await speak(reader, writer)
            except ConnectionError:
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        tables = TableHolder(ME, url)
        receiver = Receiver(tables, (8081,))
        hello = Hello("id", "boot", WORKLOAD)
        link = Link(Controller(url, None, None), lambda: hello, tables, receiver, Reporter(traffic or KeyTraffic()))
        task = asyncio.create_task(link.run())  # noqa: TID251
        try:
            async with asyncio.timeout(10):
                await then(link, tables)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            server.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("speak", "why"),
    [
        (silent, "timed out during opening handshake"),
        (deaf, "ping timeout"),
        (stopping, "it stopped in the middle of a table"),
        (of_another_protocol, "did not receive a valid HTTP response"),
    ],
)
def test_a_peer_that_stops_is_left_and_dialled_again(speak: Speak, why: str) -> None:
    async def then(link: Link, tables: TableHolder) -> None:
        seen: set[str] = set()  # a deaf one is soon in sync again, and then there is nothing to be said
        while link.failures_total < 2 or not any(why in text for text in seen):
            await asyncio.sleep(0.01)
            seen.add(str(tables.state()["last_error"]))
        assert link.first_sync.is_set() == (speak is deaf)
        assert (tables.view is not None) == (speak is deaf)

    linked(speak, then)


def test_leaving_a_deaf_one_takes_no_longer_than_it_may() -> None:
    async def then(link: Link, _: TableHolder) -> None:
        while not link.is_connected:
            await asyncio.sleep(0.01)
        await link.leave(0.2)

    linked(deaf, then)


def test_whatever_goes_wrong_inside_the_link_lives(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(Receiver, "take", broken)

    async def then(link: Link, tables: TableHolder) -> None:
        while link.failures_total < 2:
            await asyncio.sleep(0.01)
        assert "a fault of ours" in str(tables.state()["last_error"])

    linked(deaf, then)
    assert "not foreseen" in caplog.text


def test_waiting_grows_to_ten_seconds_and_is_spread() -> None:
    for failures, longest_s in ((0, 0.1), (1, 0.2), (3, 0.8), (7, 10.0), (1000, 10.0)):
        waits = [_wait_s(failures) for _ in range(400)]
        assert 0 <= min(waits) < longest_s * 0.1
        assert longest_s * 0.9 < max(waits) <= longest_s


def test_reports_keep_their_order_however_slowly_they_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """One is asked for while others, which the peer does not take, are on their way."""
    monkeypatch.setattr(link_module, "HEARTBEAT_S", None)
    monkeypatch.setattr(link_module, "_REPORT_EVERY_S", 0.05)
    traffic = KeyTraffic()
    for number in range(100_000):
        traffic.from_sandbox(f"{number:060}".encode())
    numbers: list[int] = []

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await shake_hands(reader, writer)
        writer.write(frame(SNAPSHOT))
        while not (traffic.is_empty and asking.is_set()):
            await asyncio.sleep(0.01)
        traffic.from_sandbox(b"late")
        writer.write(frame({"type": "report", "reply": "now"}))
        await asyncio.sleep(0.2)  # time enough to answer
        while not numbers or numbers[-1] < 51:
            head = await reader.readexactly(2)
            size = {126: 2, 127: 8}.get(head[1] & 0x7F, 0)
            length = int.from_bytes(await reader.readexactly(size), "big") if size else head[1] & 0x7F
            mask, data = await reader.readexactly(4), bytearray(await reader.readexactly(length))
            start = bytes(byte ^ mask[place % 4] for place, byte in enumerate(data[:100]))
            if found := re.search(rb'"seq":\s*(\d+)', start):
                numbers.append(int(found[1]))
        done.set()

    asking, done = asyncio.Event(), asyncio.Event()

    async def then(link: Link, _: TableHolder) -> None:
        await link.first_sync.wait()
        asking.set()
        await done.wait()

    linked(slow, then, traffic=traffic)
    assert numbers == list(range(1, 52))
