"""Folders of object files, and the store that follows one, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from controller.dirstore import DirStore
from controller.documents import rendered
from controller.objects import Object, Ref


def write(path: Path, *objects: Object) -> None:
    """As an author would: whole, under its name by a rename."""
    text = b"---\n".join(rendered(object_.document()) for object_ in objects)
    fresh = path.with_name(f".{path.name}")
    fresh.write_bytes(text)
    fresh.rename(path)


@asynccontextmanager
async def opened(folder: Path, state_folder: str | None = None, **options: object) -> AsyncIterator[DirStore]:
    store = DirStore(str(folder), state_folder, **options)  # type: ignore[arg-type]
    await store.start()
    try:
        yield store
    finally:
        await store.close()


async def until(condition: Callable[[], object], what: str, within_s: float = 10.0) -> None:
    """Returns once it holds, letting the loop run; fails when that takes absurdly long."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


async def names(store: DirStore) -> list[str]:
    return [object_.metadata.name for object_ in await store.list()]


def ref(name: str, kind: str = "Sandbox", namespace: str = "hotrod") -> Ref:
    return Ref(kind, namespace, name)


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Runs an asynchronous test, with an end."""

    async def bounded() -> None:
        async with asyncio.timeout(30):
            await test()

    asyncio.run(bounded())
