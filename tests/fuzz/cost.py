"""What an input may cost. A parser that is quadratic needs long inputs to show it, so short ones are pumped up."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from types import FrameType
from zlib import crc32

CPU_LIMIT_S = 1.0  # for up to 64 KiB: a hundred times what plain, instrumented Python needs
PUMPED_BYTES = 65536
_PUMP_ONE_IN = 16


class _TooSlow(BaseException):
    """Not an Exception: no parser may take it for a fault of its input."""


@contextmanager
def cpu_limit(limit_s: float = CPU_LIMIT_S) -> Iterator[None]:
    """Fails what takes longer. It counts this process's own CPU, so a busy machine matters little."""

    def stop(_signal: int, frame: FrameType | None) -> None:
        raise _TooSlow(frame)

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, limit_s)
    try:
        yield
    except _TooSlow as slow:
        raise AssertionError(f"over {limit_s} s of CPU, at {slow.args[0]}") from None
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def pumped(data: bytes) -> bytes | None:
    """For some inputs, always the same: the input with some piece of it repeated until it measures 64 KiB."""
    seed = crc32(data)
    if not data or seed % _PUMP_ONE_IN:
        return None
    random = Random(seed)
    start = random.randrange(len(data))
    piece = data[start : start + random.choice((1, 1, 2, 3, 5, 8, 16, 40))]
    return data[:start] + piece * ((PUMPED_BYTES - len(data)) // len(piece)) + data[start:]
