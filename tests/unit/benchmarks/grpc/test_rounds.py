"""Own client and own origins, nothing in between: the tools work, and a call that goes astray is noticed."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.generators import GeneratorFailed
from benchmarks.grpc import rounds
from benchmarks.grpc.calls import STYLES, Style
from benchmarks.grpc.rounds import GrpcLoad, closed_round, rate_round, single_round, streams_round
from benchmarks.grpc.scene import GrpcScene
from benchmarks.processes import Cores
from benchmarks.targets import direct

LOAD = GrpcLoad(connections=2, calls=4, seconds=0.3, rate=1000)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[GrpcScene]:
    everywhere = frozenset(os.sched_getaffinity(0))
    scene = GrpcScene(Cores(everywhere, everywhere), tmp_path, own_tools=True)
    yield scene
    scene.stop()


@pytest.mark.parametrize("style", STYLES)
def test_a_closed_loop_counts_what_the_origin_served(scene: GrpcScene, style: Style) -> None:
    before = scene.counts()
    done = closed_round(scene, direct(scene, 1), False, LOAD, style)
    after = scene.counts()
    assert not done.void
    assert done.notes["requests"] == after["baseline"] - before["baseline"] > 100
    assert after["sandbox"] == before["sandbox"]


def test_a_fixed_rate_sends_all_that_is_due(scene: GrpcScene) -> None:
    done = rate_round(scene, direct(scene, 1), True, LOAD)
    assert not done.void
    assert done.notes["requests"] == 300
    assert 0 < done.values["p50_us"] <= done.values["p99_us"] <= done.values["max_us"]


def test_calls_at_the_wrong_origin_void_the_round(scene: GrpcScene) -> None:
    target = direct(scene, 1)
    crossed = replace(target, ports={True: target.ports[False], False: target.ports[True]})
    assert "reached the baseline instead of the sandbox" in closed_round(scene, crossed, True, LOAD).void


def test_memory_is_read_while_streams_are_open(scene: GrpcScene) -> None:
    """Of the origin itself, which holds them."""
    target = replace(direct(scene, 1), child=scene.sandbox.child)
    done = streams_round(scene, lambda: target, connections=2, streams=50)
    assert not done.void
    assert done.values["rss_mb"] > 5
    assert done.values["stream_kb"] == pytest.approx(done.values["added_mb"] * 1000 / 100)


def test_single_calls_are_as_many_on_a_connection_each(scene: GrpcScene) -> None:
    assert LOAD.single() == replace(LOAD, connections=8, calls=1)
    done = single_round(scene, direct(scene, 1), True, LOAD)
    assert not done.void
    assert done.notes["requests"] > 100


def test_a_load_that_hangs_ends_the_run(scene: GrpcScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """No program starts in 10 ms."""
    monkeypatch.setattr(rounds, "_STREAMS_LIMIT_S", 0.01)
    target = replace(direct(scene, 1), child=scene.sandbox.child)
    with pytest.raises(GeneratorFailed, match="status -9"):
        streams_round(scene, lambda: target, connections=1, streams=1)
