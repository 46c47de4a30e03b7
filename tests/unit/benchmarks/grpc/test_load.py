"""Targets that do not behave: a load ends all the same, and says what was missing."""

import argparse
import asyncio
from pathlib import Path

import pytest

from benchmarks.grpc import frames, load
from benchmarks.grpc.load import LOOPS


class _Silent(asyncio.Protocol):
    """Takes calls and answers none."""

    def __init__(self, streams: int) -> None:
        self._streams = streams

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(frames.settings((frames.MAX_CONCURRENT_STREAMS, self._streams)))


def _summary(loop: str, tmp_path: Path, *, streams: int = 100, calls: int = 5) -> dict[str, object]:
    (tmp_path / "keys").write_text("")

    async def run() -> dict[str, object]:
        server = await asyncio.get_running_loop().create_server(lambda: _Silent(streams), "127.0.0.1", 0)
        async with server:
            options = argparse.Namespace(
                port=server.sockets[0].getsockname()[1],
                keys=tmp_path / "keys",
                tagged=False,
                seed=1,
                style="core",
                connections=2,
                calls=calls,
                seconds=0.05,
                rate=1000,
            )
            return await LOOPS[loop](options).run()

    return asyncio.run(run())


@pytest.fixture(autouse=True)
def _short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "_LAST_ANSWERS_S", 0.05)


@pytest.mark.parametrize(("loop", "out"), [("closed", 10), ("rate", 50)])
def test_calls_without_an_answer_fail(tmp_path: Path, loop: str, out: int) -> None:
    summary = _summary(loop, tmp_path)
    assert (summary["failed"], summary["answered"], summary["why"]) == (out, 0, {"no answer": out})


def test_streams_without_an_answer_fail(tmp_path: Path) -> None:
    assert _summary("streams", tmp_path)["why"] == {"no answer on a stream": 10}


def test_a_closed_loop_keeps_to_the_streams_that_the_target_allows(tmp_path: Path) -> None:
    assert _summary("closed", tmp_path, streams=3)["failed"] == 6


def test_a_rate_that_the_target_does_not_allow_fails(tmp_path: Path) -> None:
    why = _summary("rate", tmp_path, streams=3)["why"]
    assert why == {"no answer": 6, "no connection that takes the call": 44}


def test_more_streams_than_the_target_allows_are_not_tried(tmp_path: Path) -> None:
    why = _summary("streams", tmp_path, streams=4)["why"]
    assert why == {"the target allows 4 streams on a connection": 1}
