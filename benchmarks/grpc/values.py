"""Values that differ from call to call, as coded strings: put together from coded pieces, which takes 1 us where coding
the whole takes 20.

Huffman codes are bits, not bytes. So pieces are drawn until their code fills whole bytes, all of them the same number.
"""

import random
from collections.abc import Callable, Sequence

from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

_POOL_BITS = 12
_POOL = 1 << _POOL_BITS  # pieces of a kind; two of them in a value make 16 million of it
_TIMEOUTS = 1000


def huffman_bits(text: str) -> int:
    return sum(REQUEST_CODES_LENGTH[byte] for byte in text.encode())


def huffman(text: str) -> bytes:
    """Spec: RFC 7541 section 5.2."""
    code = length = 0
    for byte in text.encode():
        code = code << REQUEST_CODES_LENGTH[byte] | REQUEST_CODES[byte]
        length += REQUEST_CODES_LENGTH[byte]
    padding = -length % 8
    return (code << padding | (1 << padding) - 1).to_bytes((length + padding) // 8, "big")


def string(text: str, is_huffman: bool) -> bytes:
    """A string literal. Shorter than 127 bytes, as all are here."""
    coded = huffman(text) if is_huffman else text.encode()
    return _length(len(coded), is_huffman) + coded


def _length(size: int, is_huffman: bool) -> bytes:
    if size >= 127:
        raise ValueError(f"a string of {size} bytes needs a longer length than is written here")
    return bytes([size | (0x80 if is_huffman else 0)])


class Values:
    """Of one client, which may have several connections: no value is given twice within 16 million calls."""

    def __init__(self, *, is_huffman: bool, keys: Sequence[str], seed: int) -> None:
        """`keys`: routing keys to draw from, of one length; none: calls are untagged."""
        self._is_huffman, self._draw = is_huffman, random.Random(seed)
        self._number = self._draw.getrandbits(2 * _POOL_BITS)
        digits = self._draw.getrandbits
        self._traces = self._pieces(lambda: f"{digits(64):016x}")
        self._spans = self._pieces(lambda: f"-{digits(64):016x}")
        self._users = self._pieces(lambda: f"user-id={self._draw.randrange(10**6):06}")
        self._more_users = self._pieces(lambda: f"{self._draw.randrange(10**6):06}")
        self._timeouts = [string(f"29999{number:03}u", is_huffman) for number in range(_TIMEOUTS)]
        start, self._trace_end = self._coded("00-"), self._coded("-01")
        whole = start, self._traces[0], self._traces[0], self._spans[0], self._trace_end
        self._trace_start = _length(len(b"".join(whole)), is_huffman) + start
        members = [f",sd-routing-key={key},tenant=acme,region=eu-west-1" for key in keys]
        members = members or [",tenant=acme,region=eu-west-1"]
        [members_bytes] = {len(text) for text in members}
        user_bytes = len(self._users[0] + self._more_users[0])
        self._baggage_ends = [
            (_length(user_bytes + len(end), is_huffman), end) for end in (self._coded(text) for text in members)
        ]
        # Uncoded, which is how entries of a table are counted.
        self.trace_bytes, self.timeout_bytes = len("00---01") + 48, len("29999000u")
        self.baggage_bytes = len("user-id=") + 12 + members_bytes

    def traceparent(self) -> bytes:
        """Begins the next call. 0.5 us."""
        self._number = number = self._number + 1
        trace = self._traces[number >> _POOL_BITS & _POOL - 1], self._traces[number & _POOL - 1]
        return b"".join((self._trace_start, *trace, self._spans[int(self._draw.random() * _POOL)], self._trace_end))

    def baggage(self) -> bytes:
        number = self._number
        length, end = self._baggage_ends[int(self._draw.random() * len(self._baggage_ends))]
        user = self._users[number & _POOL - 1], self._more_users[number >> _POOL_BITS & _POOL - 1]
        return b"".join((length, *user, end))

    def timeout(self) -> bytes:
        """Of some deadline in microseconds."""
        return self._timeouts[self._number % _TIMEOUTS]

    def _coded(self, text: str) -> bytes:
        return huffman(text) if self._is_huffman else text.encode()

    def _pieces(self, draw: Callable[[], str]) -> list[bytes]:
        """No two of them alike. The first that fills whole bytes says how many: a draw that is common, most likely."""
        pieces: dict[bytes, None] = {}
        size = 0
        while len(pieces) < _POOL:
            text = draw()
            if self._is_huffman and huffman_bits(text) % 8:
                continue
            piece = self._coded(text)
            size = size or len(piece)
            if len(piece) == size:
                pieces[piece] = None
        return list(pieces)
