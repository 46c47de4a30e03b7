"""Reads HPACK's Huffman code (RFC 7541 section 5.2 and Appendix B), one octet a step.

A state is a node of the code's tree: the bits that the octets so far left over. It says, for each of 256 octets, what
it adds (no symbol, one or two) and which state follows. States are worked out when they are first met. Fields as they
usually are meet 50 of the 256, which take 0.5 MB (all of them: 3 MB, once per process); many peers never send a code.

Symbols are put together as Latin-1 text, which is joined faster than bytes.
"""

from __future__ import annotations

from typing import Final

# Appendix B. The code is canonical: codes of equal length count up in the order of their symbols, shorter codes come
# first. So the lengths say everything. EOS (256) is the last one, 30 bits, all ones.
_SYMBOLS: Final = {
    5: b"012aceiost",
    6: b" %-./3456789=A_bdfghlmnpru",
    7: b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
    8: b"&*,;XZ",
    10: b'!"()?',
    11: b"'+|",
    12: b"#>",
    13: b"\x00$@[]~",
    14: b"^}",
    15: b"<`{",
    19: b"\\\xc3\xd0",
    20: b"\x80\x82\x83\xa2\xb8\xc2\xe0\xe2",
    21: b"\x99\xa1\xa7\xac\xb0\xb1\xb3\xd1\xd8\xd9\xe3\xe5\xe6",
    22: b"\x81\x84\x85\x86\x88\x92\x9a\x9c\xa0\xa3\xa4\xa9\xaa\xad\xb2\xb5\xb9\xba\xbb\xbd\xbe\xc4\xc6\xe4\xe8\xe9",
    23: b"\x01\x87\x89\x8a\x8b\x8c\x8d\x8f\x93\x95\x96\x97\x98\x9b\x9d\x9e\xa5\xa6\xa8\xae\xaf\xb4\xb6\xb7\xbc\xbf\xc5"
    b"\xe7\xef",
    24: b"\x09\x8e\x90\x91\x94\x9f\xab\xce\xd7\xe1\xec\xed",
    25: b"\xc7\xcf\xea\xeb",
    26: b"\xc0\xc1\xc8\xc9\xca\xcd\xd2\xd5\xda\xdb\xee\xf0\xf2\xf3\xff",
    27: b"\xcb\xcc\xd3\xd4\xd6\xdd\xde\xdf\xf1\xf4\xf5\xf6\xf7\xf8\xfa\xfb\xfc\xfd\xfe",
    28: b"\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\x10\x11\x12\x13\x14\x15\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x7f"
    b"\xdc\xf9",
    30: b"\x0a\x0d\x16",
}
_EOS_BITS: Final = 30

_NODES: Final = 256  # a full tree of 257 symbols
_LAST_PADDING: Final = 7


class _State:
    """A node of the tree, by number. Nodes 0 to 29 stand behind that many ones and nothing else."""

    __slots__ = ("following", "node", "symbols")

    def __init__(self, node: int) -> None:
        self.node = node
        # By octet; empty until the state is first met.
        self.symbols: list[str] = []
        self.following: list[_State] = []


# The last one stands behind a whole EOS, and no octet leaves it.
_states: Final = [_State(node) for node in range(_NODES + 1)]
_start: Final = _states[0]
# The child of a node behind a zero is at 2 * node, behind a one at 2 * node + 1. A symbol is stored as -1 - symbol.
_tree: Final[list[int]] = []
_texts: Final[dict[str, str]] = {}  # each output once


def decode(data: bytes) -> bytes:
    """The octets that this code stands for. 16 ns per octet of code (plain Python: 34).

    Raises: ValueError for an EOS, and for padding that is longer than 7 bits or not all ones (section 5.2).
    """
    pieces: list[str] = []
    state = _start
    for octet in data:
        symbols = state.symbols
        if not symbols:
            _work_out(state)
            symbols = state.symbols
        pieces.append(symbols[octet])
        state = state.following[octet]
    if state.node > _LAST_PADDING:
        raise ValueError("a Huffman code with an EOS or with wrong padding")
    return "".join(pieces).encode("latin-1")


def _work_out(state: _State) -> None:
    """All 256 octets side by side, bit by bit, so that they come out in order."""
    if not _tree:
        _build_tree()
    steps = [(state.node, "")]
    for _ in range(8):
        further: list[tuple[int, str]] = []
        for node, text in steps:
            for child in (_tree[2 * node], _tree[2 * node + 1]):
                if child < 0:
                    longer = text + chr(-1 - child)
                    further.append((0, _texts.setdefault(longer, longer)))
                else:
                    further.append((child, text))
        steps = further
    state.following = [_states[node] for node, _ in steps]
    state.symbols = [text for _, text in steps]


def _build_tree() -> None:
    tree = [0] * (2 * len(_states))
    for ones in range(_EOS_BITS):
        tree[2 * ones + 1] = ones + 1
    # EOS, which is thirty ones, leads to the last state, and that to itself.
    tree[2 * _EOS_BITS - 1] = tree[2 * _NODES] = tree[2 * _NODES + 1] = _NODES
    nodes = _EOS_BITS
    code = 0
    length = 0
    for next_length, symbols in _SYMBOLS.items():
        code <<= next_length - length
        length = next_length
        for symbol in symbols:
            node = 0
            for shift in range(length - 1, 0, -1):
                child = 2 * node + (code >> shift & 1)
                if not tree[child]:
                    tree[child] = nodes
                    nodes += 1
                node = tree[child]
            tree[2 * node + (code & 1)] = -1 - symbol
            code += 1
    _tree.extend(tree)
