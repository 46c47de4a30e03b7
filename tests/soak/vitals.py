"""The process under soak: its memory must be flat after a warm-up, and what it opened it must close."""

from __future__ import annotations

import asyncio
import time
from statistics import median

from tests.soak import HANG_S
from tests.soak.judge import Judge
from tests.soak.swaps import page
from tests.support.proxy import Proxy

_SAMPLE_S = 0.25
_MAX_WARM_UP_S = 60.0
_GROWTH = 1.10
_GROWTH_BYTES = 5_000_000
# Beyond those open at the start: what the first child process and the first thread open once and keep.
_LATE_FILES = 4
_GAUGES = ("pointsman_downstream_connections", "pointsman_upstream_connections", "pointsman_tunnels")


class Vitals:
    def __init__(self, proxy: Proxy, judge: Judge) -> None:
        self._proxy = proxy
        self._judge = judge
        self._rss: list[tuple[float, int]] = []
        self.files_at_start = proxy.open_files()
        self.most_files = 0
        self.files_at_end = 0
        self.rss_thirds = (0.0, 0.0)

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._rss.append((time.monotonic(), self._proxy.rss_bytes()))
            self.most_files = max(self.most_files, self._proxy.open_files())
            await asyncio.sleep(_SAMPLE_S)

    def check_memory(self) -> None:
        begin_s, end_s = self._rss[0][0], self._rss[-1][0]
        warm_s = begin_s + min((end_s - begin_s) / 4, _MAX_WARM_UP_S)
        sizes = [size for at_s, size in self._rss if at_s >= warm_s]
        third = max(1, len(sizes) // 3)
        first, last = median(sizes[:third]), median(sizes[-third:])
        self.rss_thirds = first, last
        if last > first * _GROWTH + _GROWTH_BYTES:
            self._judge.violation(f"memory grows: {first / 1e6:.1f} MB, then {last / 1e6:.1f} MB")

    async def check_files(self) -> None:
        """After the load: all connections of both sides are closed."""
        end_s = time.monotonic() + HANG_S
        while True:
            self.files_at_end = self._proxy.open_files()
            gauges = await self._gauges()
            if self.files_at_end <= self.files_at_start + _LATE_FILES and not any(gauges.values()):
                return
            if time.monotonic() > end_s:
                break
            await asyncio.sleep(0.2)
        self._judge.violation(
            f"files stay open {HANG_S:g} s after the load: {self.files_at_start} at its start, now {self.files_at_end}",
            [f"{gauges}"],
        )

    async def _gauges(self) -> dict[str, float]:
        lines = (await page(self._proxy.admin, "/metrics")).body.decode().splitlines()
        samples = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(samples[name]) for name in _GAUGES}
