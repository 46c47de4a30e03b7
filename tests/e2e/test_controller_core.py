"""Folder, compiler and journal together, as the controller runs them: files in, table and statuses out, restarts."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from controller.allow import AllowList
from controller.compile import Compilation, Compiler, Settings
from controller.dirstore import DirStore
from controller.journal import Journal
from controller.memory import read_memory
from controller.store import Changed, Deleted, Event, Snapshot
from proxy.routing.wire import read_document
from tests.support.folder import opened, ref, run, write
from tests.support.objects import HOUR, NOON, sandbox


class Core:
    """What the controller does with a store, without the network."""

    def __init__(self, store: DirStore, journal: Journal) -> None:
        self.store = store
        self.journal = journal
        memory = {key: read_memory(record) for key, record in journal.entries()}
        self.compiler = Compiler(Settings(AllowList(["127.0.0.0/8"])), memory)

    def take(self, event: Event) -> None:
        if isinstance(event, Snapshot):
            for object_ in event.objects:
                self.compiler.put(object_)
        elif isinstance(event, Changed):
            self.compiler.put(event.object)
        else:
            assert isinstance(event, Deleted)
            self.compiler.delete(event.ref)

    async def compile(self, now: datetime) -> Compilation:
        found = self.compiler.compile(now)
        # Before anybody is told: what a proxy knows must not be forgotten.
        self.journal.write(
            {key: record.document() if record is not None else None for key, record in found.memory.items()}
        )
        await self.store.put_statuses(found.statuses)
        return found


def test_files_in_table_out_and_restarts(tmp_path: Path) -> None:
    folder, state = tmp_path / "files", str(tmp_path / "memory")
    folder.mkdir()
    write(folder / "a.yaml", sandbox("one", key=None), sandbox("two"))

    async def first() -> None:
        journal = Journal(state)
        async with opened(folder) as store:
            core = Core(store, journal)
            events = store.watch()
            core.take(await anext(events))
            table = (await core.compile(NOON)).table
            one = await store.get(ref("one"))
            assert table.live == {str(one.spec.routing_key).encode(), b"two"}
            assert one.status.routing_key == one.spec.routing_key
            for _ in range(2):  # the statuses come back, and are no news
                core.take(await anext(events))
            assert (await core.compile(NOON)).statuses == {}
            write(folder / "a.yaml", sandbox("one", key=None))
            core.take(await anext(events))
            table = (await core.compile(NOON)).table
            assert table.gone == {b"two"}
            versions.append(table.version)
            assert read_document(table.document()).version == table.version
        journal.close()

    async def second() -> None:
        """The same, and another object went while nobody looked."""
        journal = Journal(state)
        async with opened(folder) as store:
            core = Core(store, journal)
            core.take(await anext(store.watch()))
            found = await core.compile(NOON + HOUR / 2)
            assert found.version == versions[0]
            assert found.statuses == {}
        journal.close()

    async def third() -> None:
        journal = Journal(state)
        async with opened(folder) as store:
            core = Core(store, journal)
            core.take(await anext(store.watch()))
            table = (await core.compile(NOON + HOUR / 2)).table
            assert table.live == frozenset()
            assert len(table.gone) == 2
            assert (await core.compile(NOON + HOUR)).table.gone == table.gone - {b"two"}
            assert (await core.compile(NOON + 2 * HOUR)).table.gone == frozenset()
            assert dict(journal.entries()) == {}
        journal.close()

    versions: list[str] = []
    run(first)
    run(second)
    (folder / "a.yaml").unlink()
    run(third)
