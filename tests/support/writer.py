"""A process that writes one object to a folder, as fast as it can, until it is killed: `python -m tests.support.writer
FOLDER`. Each state's ttl is its number in hours; it prints the number once the store has said that it is written."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from controller.objects import Sandbox, Ttl
from tests.support.folder import opened, ref


async def main() -> None:
    async with opened(Path(sys.argv[1])) as store:
        (found,) = [each for each in await store.list() if each.ref == ref("one")]
        assert isinstance(found, Sandbox)
        start = int(found.spec.ttl.duration[:-1]) if found.spec.ttl is not None else 0
        for hours in range(start + 1, 8000):
            await store.put(replace(found, spec=replace(found.spec, ttl=Ttl(f"{hours}h"))))
            print(hours, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
