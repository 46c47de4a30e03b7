import re

import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman

from benchmarks.grpc.values import Values, huffman, huffman_bits, string
from benchmarks.heads import sandbox_keys

KEYS = sandbox_keys(5)
TEXTS = ["", "0", "-01", "www.example.com", "user-id=000000", "{}~\\", "00-0123456789abcdef"]


def _text(literal: bytes) -> str:
    """A string literal that is nothing but that."""
    length, coded = literal[0] & 0x7F, literal[1:]
    assert len(coded) == length
    return (decode_huffman(coded) if literal[0] & 0x80 else coded).decode()


@pytest.mark.parametrize("text", TEXTS)
def test_huffman_codes_are_those_of_hpack(text: str) -> None:
    assert huffman(text) == HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(text.encode())
    assert (huffman_bits(text) + 7) // 8 == len(huffman(text))


@pytest.mark.parametrize("is_huffman", [False, True])
def test_a_string_says_its_length_and_its_code(is_huffman: bool) -> None:
    assert [_text(string(text, is_huffman)) for text in TEXTS] == TEXTS
    with pytest.raises(ValueError, match="127 bytes"):
        string("~" * 127, False)


@pytest.mark.parametrize("is_huffman", [False, True])
def test_no_two_calls_have_a_value_in_common(is_huffman: bool) -> None:
    """Across the end of a pool of 4,096 pieces."""
    values = Values(is_huffman=is_huffman, keys=KEYS, seed=1)
    calls = [(_text(values.traceparent()), _text(values.baggage())) for _ in range(10_000)]
    for trace, baggage in calls:
        assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", trace)
        assert re.fullmatch("user-id=[0-9]{12},sd-routing-key=[a-z0-9]{13},tenant=acme,region=eu-west-1", baggage)
        assert (len(trace), len(baggage)) == (values.trace_bytes, values.baggage_bytes)
    assert len({trace[3:35] for trace, _ in calls}) == len({baggage[:20] for _, baggage in calls}) == 10_000


def test_all_keys_are_drawn_and_untagged_calls_have_none() -> None:
    tagged = Values(is_huffman=True, keys=KEYS, seed=1)
    tagged.traceparent()
    drawn = {_text(tagged.baggage()).split(",")[1].removeprefix("sd-routing-key=") for _ in range(200)}
    assert drawn == set(KEYS)
    untagged = Values(is_huffman=True, keys=[], seed=1)
    untagged.traceparent()
    text = _text(untagged.baggage())
    assert "sd-" not in text
    assert len(text) == untagged.baggage_bytes


def test_two_clients_do_not_send_the_same() -> None:
    one, other = (Values(is_huffman=False, keys=[], seed=seed) for seed in (1, 2))
    assert {one.traceparent() for _ in range(1000)}.isdisjoint({other.traceparent() for _ in range(1000)})


def test_deadlines_differ_from_call_to_call() -> None:
    values = Values(is_huffman=True, keys=[], seed=1)
    seen = set()
    for _ in range(500):
        values.traceparent()
        seen.add(_text(values.timeout()))
    assert len(seen) == 500
    assert all(re.fullmatch("29999[0-9]{3}u", text) and len(text) == values.timeout_bytes for text in seen)
