"""The folder of files and a writer that is killed: either the old file or the new one, and nothing that was said to be
written is lost."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

from controller.documents import parse_piece, pieces
from controller.objects import Fork, Metadata, Object, Sandbox, SandboxSpec, Ttl
from controller.schema import read_object
from tests.support.folder import opened, ref, run, write
from tests.support.objects import workload

ROOT = Path(__file__).resolve().parents[2]
KILLS = 12


def objects_in(path: Path) -> list[Object]:
    raw = path.read_bytes()
    return [read_object(parse_piece(raw, piece)) for piece in pieces(raw)]


def hours(object_: Object) -> int:
    return int(object_.spec.ttl.duration[:-1]) if object_.spec.ttl is not None else 0


def test_a_writer_that_is_killed(tmp_path: Path) -> None:
    spec = SandboxSpec(forks=(Fork(workload()),))
    path = tmp_path / "a.yaml"
    write(path, Sandbox(Metadata("one", "hotrod"), spec), Sandbox(Metadata("two", "hotrod"), spec))
    chance = random.Random(5)
    last = 0
    identities = set()
    for _ in range(KILLS):
        writer = subprocess.Popen(
            [sys.executable, "-m", "tests.support.writer", str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        for _ in range(chance.randrange(1, 6)):
            assert writer.stdout.readline()
        time.sleep(chance.random() * 0.01)  # anywhere in the midst of a write
        writer.kill()
        said = [int(line) for line in writer.stdout.read().split()]
        writer.wait()
        writer.stdout.close()
        one, two = objects_in(path)  # whole, whatever the moment was
        assert two.metadata.name == "two"
        assert hours(one) >= max(said, default=last + 1)
        last = hours(one)
        assert last > 0
        identities.add((one.metadata.uid, one.spec.routing_key))
    assert len(identities) == 1  # one object all the time

    async def test() -> None:
        async with opened(tmp_path) as store:
            found = await store.get(ref("one"))
            assert found.spec.ttl == Ttl(f"{last}h")
            assert store.faults == {}

    run(test)
    assert sorted(os.listdir(tmp_path)) == [".pointsman", "a.yaml"]
