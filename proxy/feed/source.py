"""The table's source where it is a controller: state file, receiver, reports and connection, put together.

A router's counters are by workload, and its places ask for them, so they are made before its tables (`traffic`).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence
from typing import Final

from proxy.background import spawn
from proxy.config import ControllerSettings
from proxy.feed.link import Controller, Link
from proxy.feed.messages import Hello, Nack
from proxy.feed.receiver import Receiver
from proxy.feed.report import Reporter
from proxy.feed.statefile import StateError, StateFile
from proxy.release import RELEASE
from proxy.routertables import RouterTables
from proxy.tables import TableHolder
from proxy.telemetry.exposition import FeedState
from proxy.telemetry.traffic import KeyTraffic, RouterTraffic

_log = logging.getLogger(__name__)


class Feed:
    """`restore` once, then `start`; `leave` at the end."""

    def __init__(
        self,
        settings: ControllerSettings,
        ports: Sequence[int],
        tables: TableHolder | RouterTables,
        traffic: KeyTraffic | RouterTraffic,
    ) -> None:
        """`ports`: those of the workload; a router has none."""
        workload = tables.workload if isinstance(tables, TableHolder) else None
        self._traffic: Final = traffic
        self._settings: Final = settings
        self._tables: Final = tables
        self._workload: Final = workload
        self._ports: Final = tuple(ports)
        self._boot: Final = secrets.token_hex(8)
        self._state_file: Final = (
            None if settings.state_dir is None else StateFile(settings.state_dir, workload, settings.worker)
        )
        self._receiver: Final = Receiver(tables, ports, self._table_put)
        controller = Controller(settings.url, settings.token_file, settings.ca_file)
        self._link: Final = Link(controller, self._hello, tables, self._receiver, Reporter(traffic))
        self._is_ready = False
        self._tasks: list[asyncio.Task[None]] = []

    async def restore(self) -> None:
        """Route by the state file, if there is one that can be used."""
        self._tables.unheard("the controller was not heard of yet")
        if self._state_file is None:
            return
        try:
            for part in self._state_file.load():
                answer = self._receiver.take(part)
                if isinstance(answer, Nack) and answer.is_whole:
                    raise StateError(f"is not what this version writes: {answer.faults[0]}")
            if self._receiver.slice is not None:
                self._receiver.slice.refused.update(self._state_file.refused_routes)
        except StateError as error:
            self._state_file.refused(str(error))
            self._tables.refuse([f"state file {self._state_file.path} {error}"])
        self._tables.unheard("the controller was not heard of yet")

    def start(self) -> None:
        """Connect, and stay connected."""
        self._tasks = [
            spawn(self._link.run(), "connection to the controller"),
            spawn(self._become_ready(), "readiness"),
        ]
        if self._state_file is not None:
            self._tasks.append(spawn(self._state_file.run(self._receiver), "state file"))

    async def leave(self) -> None:
        """Say what is left to say and what is left to write."""
        await self._link.leave()
        if self._state_file is not None:
            await self._state_file.write()
        for task in self._tasks:
            task.cancel()

    def why_not_ready(self) -> str | None:
        """None from the first sync on, or when it was waited for long enough; never a reason again after that."""
        return None if self._is_ready else "no table of the controller yet"

    def state(self) -> FeedState:
        """For `/metrics`."""
        return FeedState(
            is_connected=self._link.is_connected,
            is_synced=self._link.first_sync.is_set(),
            connected_total=self._link.connected_total,
            failures_total=self._link.failures_total,
            state_file_failures_total=0 if self._state_file is None else self._state_file.failures_total,
            lost_counts_total=self._traffic.lost_total,
        )

    def _hello(self) -> Hello:
        receiver = self._receiver
        return Hello(
            id=self._settings.proxy_id,
            boot=self._boot,
            workload=str(self._workload) if self._workload is not None else None,
            ports=self._ports,
            release=RELEASE,
            position=receiver.position,
            version=receiver.version if receiver.is_whole else None,
            salt=receiver.salt if receiver.is_whole else None,
        )

    def _table_put(self, has_changed: bool) -> None:
        if self._state_file is not None:
            self._state_file.note(has_changed)

    async def _become_ready(self) -> None:
        try:
            async with asyncio.timeout(self._settings.sync_timeout_s):
                await self._link.first_sync.wait()
        except TimeoutError:
            _log.warning(
                "no table of the controller within --sync-timeout: ready all the same; %s",
                "the last run's is in force"
                if self._receiver.is_whole
                else "tagged requests get 503 until there is one",
            )
        self._is_ready = True
