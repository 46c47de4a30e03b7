"""The application's frame, over a real socket."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import ClientSession, web

from controller.rest import bodies
from controller.rest.app import make_app
from controller.rest.bodies import document_of
from controller.rest.operations import Answer, Operation
from controller.rest.problems import Problem
from controller.rest.services import Services


def run(handle: Callable[[web.Request], Awaitable[web.StreamResponse]], ask: Callable[[str], Awaitable[None]]) -> None:
    """Serves one page at `/page`, without tokens, and asks."""

    async def test() -> None:
        operations = [
            Operation(method, "/page", handle, "A page", {200: Answer("A page")}, "write") for method in ("GET", "PUT")
        ]
        runner = web.AppRunner(make_app(cast(Services, SimpleNamespace(identify=None)), operations), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            async with asyncio.timeout(10):
                await ask(f"http://127.0.0.1:{runner.addresses[0][1]}/page")
        finally:
            await runner.cleanup()

    asyncio.run(test())


def test_a_defect_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    async def page(_: web.Request) -> web.StreamResponse:
        raise KeyError("our inside")

    async def ask(url: str) -> None:
        async with ClientSession() as session, session.get(url) as response:
            assert (response.status, response.content_type) == (500, "application/problem+json")
            assert "inside" not in await response.text()

    run(page, ask)
    assert "our inside" in caplog.text


@pytest.mark.parametrize("error", [KeyError("a defect"), Problem("internal", "late"), web.HTTPNotFound()])
def test_an_answer_that_breaks_has_no_clean_end(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "controller.rest.app")

    async def page(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"[1, 2")
        raise error

    async def ask(url: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.split(":")[2].split("/")[0]))
        writer.write(b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = b""
        with suppress(ConnectionError):
            while piece := await reader.read(65536):
                received += piece
        assert received.startswith(b"HTTP/1.1 200 ")
        assert received.endswith(b"\r\n\r\n5\r\n[1, 2\r\n")  # neither a last chunk nor another answer
        writer.close()

    run(page, ask)


def test_a_body_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_S", 0.05)

    async def page(request: web.Request) -> web.StreamResponse:
        return web.json_response(await document_of(request))

    async def ask(url: str) -> None:
        port = int(url.split(":")[2].split("/")[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"PUT /page HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 ")
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    run(page, ask)


def test_compressed_bodies_count_as_what_they_are() -> None:
    import zlib

    async def page(request: web.Request) -> web.StreamResponse:
        return web.json_response(await document_of(request))

    async def ask(url: str) -> None:
        bomb = zlib.compress(b" " * (64 << 20))
        headers: dict[str, Any] = {"Content-Encoding": "deflate", "Content-Type": "application/json"}
        async with ClientSession() as session, session.put(url, data=bomb, headers=headers) as response:
            assert response.status == 413

    run(page, ask)
