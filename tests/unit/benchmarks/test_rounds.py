"""Own origins and own generator, nothing in between: the tools work, and a request that goes astray is noticed."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.processes import Cores
from benchmarks.rounds import Load, cpu_round, latency_round
from benchmarks.scene import Scene
from benchmarks.targets import direct

LOAD = Load(connections=4, seconds=1, rate=500, latency_seconds=0.4, warm_up_s=0.1, own_tools=True)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    everywhere = frozenset(os.sched_getaffinity(0))
    scene = Scene(Cores(everywhere, everywhere), tmp_path_factory.mktemp("scene"), own_tools=True)
    yield scene
    scene.stop()


def test_an_open_loop_sends_all_that_is_due_and_records_what_is_past_warm_up(scene: Scene) -> None:
    before = scene.counts()
    done = latency_round(scene, direct(scene, 1), True, LOAD)
    after = scene.counts()
    assert not done.void
    assert (after["sandbox"] - before["sandbox"], after["baseline"] - before["baseline"]) == (250, 0)
    assert done.notes["requests"] == 200
    assert 0 < done.values["p50_us"] <= done.values["p99_us"] <= done.values["max_us"]


def test_a_closed_loop_counts_what_the_origin_served(scene: Scene) -> None:
    done = cpu_round(scene, direct(scene, 1), False, LOAD)
    assert not done.void
    assert done.notes["requests"] > 100


def test_requests_at_the_wrong_origin_void_the_round(scene: Scene) -> None:
    target = direct(scene, 1)
    crossed = replace(target, ports={True: target.ports[False], False: target.ports[True]})
    assert "reached the baseline instead of the sandbox" in latency_round(scene, crossed, True, LOAD).void


def test_children_end_with_the_scene(tmp_path: Path) -> None:
    everywhere = frozenset(os.sched_getaffinity(0))
    scene = Scene(Cores(everywhere, everywhere), tmp_path, own_tools=True)
    pids = [scene.baseline.child.pid, scene.sandbox.child.pid]
    scene.stop()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
