"""Files of bearer tokens: one a line. What is wrong with one is said without a word of its content."""

from __future__ import annotations

from typing import Final

from proxy.reloading import ReloadError

MIN_TOKEN: Final = 16  # characters: shorter ones are guessed
_MAX_TOKENS: Final = 1000  # each is compared with
_MAX_FILE_BYTES: Final = 1 << 20
_BLANKS: Final = b" \t"


def tokens_of_file(path: str) -> list[bytes]:
    """The tokens that the file holds now.

    Raises: ReloadError.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ReloadError(f"{path}: can't be read: {error.strerror}") from None
    if len(content) > _MAX_FILE_BYTES:
        raise ReloadError(f"{path}: must be at most 1 MiB")
    try:
        return read_tokens(content)
    except ValueError as error:
        raise ReloadError(f"{path}: {error}") from None


def read_tokens(content: bytes) -> list[bytes]:
    """The tokens: of visible ASCII; empty lines and those that begin with `#` don't count.

    Raises: ValueError; its text quotes no token.
    """
    tokens = []
    for number, line in enumerate(content.splitlines(), 1):
        token = line.strip(_BLANKS)
        if not token or token.startswith(b"#"):
            continue
        if not all(0x21 <= byte <= 0x7E for byte in token) or len(token) < MIN_TOKEN:
            raise ValueError(f"line {number}: must be at least {MIN_TOKEN} characters of visible ASCII")
        tokens.append(token)
    if len(tokens) > _MAX_TOKENS:
        raise ValueError(f"must be at most {_MAX_TOKENS} tokens")
    return tokens
