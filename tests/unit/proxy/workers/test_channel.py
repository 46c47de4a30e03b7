"""Words over a socket pair, however they are cut."""

from __future__ import annotations

import pytest

from proxy.workers.channel import Channel, Word
from tests.support.transport import FakeTransport

WORDS: list[Word] = [("drain",), ("reply", 7, [("a", b"\x00" * 300)]), ("beat", None), ("reply", 8, "x" * 70_000)]


class End:
    def __init__(self) -> None:
        self.words: list[Word] = []
        self.has_ended = False
        self.channel = Channel(self.words.append, self._ended)

    def _ended(self) -> None:
        self.has_ended = True


@pytest.mark.usefixtures("loop")
@pytest.mark.parametrize("size", [1, 2, 3, 1000, 1 << 20])
def test_whole_words_arrive(size: int) -> None:
    sender, receiver = End(), End()
    out, into = FakeTransport(sender.channel), FakeTransport(receiver.channel)  # type: ignore[arg-type]
    for word in WORDS:
        sender.channel.say(*word)
    raw = out.take()
    for start in range(0, len(raw), size):
        into.receive(raw[start : start + size])
    assert receiver.words == WORDS


@pytest.mark.usefixtures("loop")
def test_nothing_is_said_before_and_after() -> None:
    end = End()
    end.channel.say("beat", None)
    transport = FakeTransport(end.channel)  # type: ignore[arg-type]
    assert transport.take() == b""
    transport.lose()
    assert end.has_ended
    end.channel.say("beat", None)
    assert transport.take() == b""
