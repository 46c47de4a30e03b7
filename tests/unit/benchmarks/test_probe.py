import pytest

from benchmarks.probe import Answer, parse_answer

WHOLE = b"HTTP/1.1 200 OK\r\nserver: x\r\ncontent-length: 5\r\nx-origin: sandbox\r\n\r\nhello"


def test_an_answer_is_complete_with_its_last_byte() -> None:
    for end in range(len(WHOLE)):
        assert parse_answer(WHOLE[:end]) is None
    assert parse_answer(WHOLE) == (Answer(200, "sandbox", b"hello"), len(WHOLE))
    assert parse_answer(WHOLE + b"HTTP/1.1 2") == (Answer(200, "sandbox", b"hello"), len(WHOLE))


def test_the_mark_in_a_body_is_not_the_origins() -> None:
    body = b"\r\nx-origin: sandbox"
    data = b"HTTP/1.1 503 No\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    assert parse_answer(data) == (Answer(503, "", body), len(data))


@pytest.mark.parametrize(
    "data", [b"HTTP/1.0 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"junk\r\n\r\n"]
)
def test_what_a_benchmark_does_not_expect_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="expects"):
        parse_answer(data)
