"""The page's files: all there, served as what they are, under one policy."""

from __future__ import annotations

import asyncio
import re
import tomllib
from collections.abc import Awaitable, Callable
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from aiohttp import ClientSession, web

from controller.rest import ui
from controller.rest.app import make_app
from controller.rest.services import Services
from controller.rest.ui import page_files

ROOT = Path(__file__).parents[4]
WWW = ROOT / "controller" / "rest" / "www"
INDEX = (WWW / "index.html").read_text()
MODULES = {path.name: path.read_text() for path in WWW.glob("*.js")}


def run(ask: Callable[[ClientSession, str], Awaitable[None]]) -> None:
    async def test() -> None:
        app = make_app(cast(Services, SimpleNamespace(identify=None)), ui.OPERATIONS)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            async with asyncio.timeout(10), ClientSession() as session:
                await ask(session, f"http://127.0.0.1:{runner.addresses[0][1]}")
        finally:
            await runner.cleanup()

    asyncio.run(test())


def test_each_file_is_served_and_packaged() -> None:
    names = {path.name for path in WWW.iterdir()}
    assert set(page_files()) == names
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["controller.rest"]
    for name in names:
        assert any(fnmatch(f"www/{name}", pattern) for pattern in data)


def test_what_is_asked_for_is_there_and_nothing_from_elsewhere() -> None:
    asked = set(re.findall(r'(?:href|src)="ui/([^"]+)"', INDEX))
    imported = {name for text in MODULES.values() for name in re.findall(r'from "\./([^"]+)"', text)}
    assert asked == (set(MODULES) | {"style.css", "icon.svg"})  # all modules at once, not one after another
    assert imported == set(MODULES) - {"app.js"}
    assert "//" not in re.sub(r"<!--.*?-->", "", INDEX).replace("</", "")
    assert not re.search(r"url\(|@import", (WWW / "style.css").read_text())


def test_nothing_inline_and_no_way_from_text_to_markup() -> None:
    assert not re.search(r"<style|<script(?! type=\"module\" src=)|\son\w+=|\sstyle=|javascript:", INDEX)
    for name, text in MODULES.items():
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text), name
        assert not re.search(r"localStorage|document\.cookie|location\.(?:hash|search)|EventSource", text), name


def test_labels_are_of_controls_that_are_there() -> None:
    ids = re.findall(r'\sid="([^"]+)"', INDEX)
    assert len(set(ids)) == len(ids)
    for attribute in ("for", "aria-labelledby", "aria-describedby", "list"):
        assert set(re.findall(rf'\s{attribute}="([^"]+)"', INDEX)) <= set(ids), attribute
    for text in MODULES.values():
        assert set(re.findall(r'(?:by|getElementById)\("([^"]+)"\)', text)) <= set(ids)


@pytest.mark.parametrize("name", sorted({"", *page_files()} - {""}))
def test_types_tags_and_policy(name: str) -> None:
    async def ask(session: ClientSession, url: str) -> None:
        for path in (f"/ui/{name}", "/ui"):
            async with session.get(url + path) as reply:
                assert reply.status == 200
                assert await reply.read() == (WWW / (name if path != "/ui" else "index.html")).read_bytes()
                assert reply.headers["Cache-Control"] == "no-cache"
                assert reply.headers["X-Content-Type-Options"] == "nosniff"
                assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
                tag = reply.headers["ETag"]
            async with session.get(url + path, headers={"If-None-Match": tag}) as reply:
                assert (reply.status, await reply.read()) == (304, b"")
            async with session.get(url + path, headers={"If-None-Match": '"another"'}) as reply:
                assert reply.status == 200
            async with session.head(url + path) as reply:
                assert (reply.status, await reply.read()) == (200, b"")

    run(ask)


def test_what_is_not_there() -> None:
    async def ask(session: ClientSession, url: str) -> None:
        for path in ("/ui/nothing.js", "/ui/..%2fapp.py", "/ui/%2e%2e/ui.py", "/ui/www/app.js", "/ui/__init__.py"):
            async with session.get(url + path, allow_redirects=False) as reply:
                assert reply.status == 404, path
        async with session.get(f"{url}/ui/") as reply:
            assert reply.url.path == "/ui"
            assert reply.status == 200
        async with session.post(f"{url}/ui") as reply:
            assert reply.status == 405

    run(ask)
