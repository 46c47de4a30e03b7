"""How a table names keys that it must not reveal: by a keyed digest of each, which is a grammatical key itself."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

DIGEST_BYTES: Final = 12  # 24 characters: by chance two of 100,000 keys meet once in 10^19 tables
_MAX_SALT_BYTES: Final = 64  # blake2b takes no longer key
SALT_RULE: Final = f"lowercase hex of 1-{_MAX_SALT_BYTES} bytes"


def key_digest(key: bytes, salt: bytes) -> bytes:
    """The key's digest, 24 lowercase hex characters. Cost: 1 us."""
    return blake2b(key, digest_size=DIGEST_BYTES, key=salt).hexdigest().encode("ascii")


def is_salt(text: str) -> bool:
    """Whether the text is a salt as documents and messages hold it."""
    return 2 <= len(text) <= 2 * _MAX_SALT_BYTES and len(text) % 2 == 0 and not set(text) - set("0123456789abcdef")
