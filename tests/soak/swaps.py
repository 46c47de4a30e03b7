"""Puts one table after another in force, about every 100 ms, in every way in which a file changes, and confirms each.

Now and then comes a document that must be refused whole, or a table follows so closely that the one before it may be
skipped. What `/table` says of the version is the confirmation.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from random import Random

from tests.soak import HANG_S
from tests.soak.evolution import Evolution
from tests.soak.history import History
from tests.soak.judge import Judge
from tests.soak.model import Table
from tests.soak.peer import Got, Peer

INTERVAL_S = 0.1


async def page(port: int, path: str) -> Got:
    """An admin page."""
    peer = await Peer.connect(port)
    peer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
    try:
        return await peer.response("GET")
    finally:
        peer.close()


class Swaps:
    """`places`: all that a table may name."""

    def __init__(
        self, path: Path, evolution: Evolution, history: History, judge: Judge, places: tuple[str, ...], rng: Random
    ) -> None:
        self._path = path
        self._evolution = evolution
        self._history = history
        self._judge = judge
        self._places = places
        self._rng = rng
        self.admin = 0  # port
        self.done = 0
        self.refused = 0

    def first(self) -> None:
        """The table that the proxy starts with."""
        table = self._evolution.step()
        self._write(table)
        self._history.confirmed(table, self._places, time.monotonic())

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            began_s = time.monotonic()
            chance = self._rng.random()
            if chance < 0.06:
                await self._try_invalid()
            else:
                if chance < 0.15:
                    self._write(self._evolution.step_that_may_be_skipped())
                    await asyncio.sleep(self._rng.uniform(0, 0.01))
                table = self._evolution.step()
                self._write(table)
                await self._confirm(table)
            await asyncio.sleep(max(0.0, began_s + INTERVAL_S - time.monotonic()))

    def _write(self, table: Table) -> None:
        self._history.writing(table, time.monotonic())
        self._put(table.text)

    def _put(self, text: str) -> None:
        if self._rng.random() < 0.15:
            self._path.write_text(text)
            return
        new = self._path.with_name(".new")
        new.write_text(text)
        os.replace(new, self._path)

    async def _confirm(self, table: Table) -> None:
        end_s = time.monotonic() + HANG_S
        while (state := await self._state())["version"] != table.version:
            if time.monotonic() > end_s:
                self._judge.violation(
                    f"table {table.version} is not in force after {HANG_S:g} s: {state}", [table.text]
                )
                return
            await asyncio.sleep(0.01)
        self._history.confirmed(table, self._places, time.monotonic())
        self.done += 1

    async def _try_invalid(self) -> None:
        before = await self._state()
        text = self._evolution.invalid_text()
        self._put(text)
        end_s = time.monotonic() + HANG_S
        while (state := await self._state())["refused_total"] == before["refused_total"]:
            if time.monotonic() > end_s:
                self._judge.violation(f"an invalid table is not refused after {HANG_S:g} s: {state}", [text])
                return
            await asyncio.sleep(0.01)
        if state["version"] != before["version"] or not state["stale"] or not state["last_error"]:
            self._judge.violation(f"an invalid table: {state}", [text])
        self.refused += 1

    async def _state(self) -> dict[str, object]:
        got = await page(self.admin, "/table")
        if got.status != 200:
            self._judge.violation(f"/table: {got.told()}")
            raise ConnectionError
        state = json.loads(got.body)
        assert isinstance(state, dict)
        return state
