"""Spoils inputs at random, blind to the code: for the short run of `make test`, and where atheris is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

_LENGTHS = (0, 1, 1, 2, 3, 5, 20, 100)
MAX_BYTES = 4096


def mutations(inputs: Sequence[bytes], scraps: Sequence[bytes], random: Random) -> Iterator[bytes]:
    """Endless: one of the inputs, spoiled up to five times."""
    while True:
        data = random.choice(inputs)
        for _ in range(random.randint(1, 5)):
            data = _spoiled(data, inputs, scraps, random)
        yield data[:MAX_BYTES]


def _spoiled(data: bytes, inputs: Sequence[bytes], scraps: Sequence[bytes], random: Random) -> bytes:
    start = random.randint(0, len(data))
    end = start + random.choice(_LENGTHS)
    match random.randrange(8):
        case 0 | 1:
            return data[:start] + random.choice(scraps) + data[start:]
        case 2:
            return data[:start] + random.choice(scraps) + data[end:]
        case 3:
            return data[:start] + data[end:]
        case 4:
            return data[:end] + data[start:]
        case 5:
            return data[:start] + random.randbytes(1) + data[start + 1 :]
        case 6:
            other = random.choice(inputs)
            return data[:start] + other[random.randint(0, len(other)) :]
        case _:
            piece = data[start:end]
            place = random.randint(0, len(data))
            return data[:place] + piece + data[place:]
