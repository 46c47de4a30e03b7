from __future__ import annotations

from pathlib import Path

import pytest

from proxy.reloading import ReloadError
from proxy.tokensfile import MIN_TOKEN, read_tokens, tokens_of_file

TOKEN = b"a-token-of-the-team"
OTHER = b"another-token-of-it"


def test_tokens() -> None:
    assert read_tokens(b"# team\r\n\n  " + TOKEN + b"\t\n" + OTHER) == [TOKEN, OTHER]
    assert read_tokens(b"") == []


@pytest.mark.parametrize("line", [b"x" * (MIN_TOKEN - 1), b"two words of a token", b"t\xc3\xb6ken-of-the-team"])
def test_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match="line 2: must be at least 16 characters of visible ASCII") as caught:
        read_tokens(TOKEN + b"\n" + line)
    assert line.decode() not in str(caught.value)


def test_too_many() -> None:
    with pytest.raises(ValueError, match="at most 1000"):
        read_tokens(b"\n".join(b"token-with-a-number-%d" % number for number in range(1001)))


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_bytes(TOKEN + b"\n")
    assert tokens_of_file(str(path)) == [TOKEN]


def test_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    for content, fault in (
        (None, "can't be read: No such file"),
        (b"x" * (1 << 21), "at most 1 MiB"),
        (b"x", "line 1:"),
    ):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ReloadError, match=fault) as caught:
            tokens_of_file(str(path))
        assert str(caught.value).startswith(f"{path}: ")
