"""How a table names keys that it must not reveal: by a keyed digest of each, which is a grammatical key itself."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Final

DIGEST_BYTES: Final = 12  # 24 characters: by chance two of 100,000 keys meet once in 10^19 tables
_MAX_SALT_BYTES: Final = 64  # blake2b takes no longer key
DIGEST_RULE: Final = f"a digest of a key, {2 * DIGEST_BYTES} lowercase hex characters"
SALT_RULE: Final = f"lowercase hex of 1-{_MAX_SALT_BYTES} bytes"

_HEX: Final = re.compile("[0-9a-f]+")
_DIGEST: Final = re.compile(f"[0-9a-f]{{{2 * DIGEST_BYTES}}}")
_DIGESTS: Final = re.compile(f"(?:{_DIGEST.pattern},)*{_DIGEST.pattern}")


def key_digest(key: bytes, salt: bytes) -> bytes:
    """The key's digest, 24 lowercase hex characters. Cost: 1 us."""
    return blake2b(key, digest_size=DIGEST_BYTES, key=salt).hexdigest().encode("ascii")


def is_salt(text: str) -> bool:
    """Whether the text is a salt as documents and messages hold it."""
    return 2 <= len(text) <= 2 * _MAX_SALT_BYTES and len(text) % 2 == 0 and _HEX.fullmatch(text) is not None


def is_digest(text: str) -> bool:
    """Whether the text may be a key's digest."""
    return _DIGEST.fullmatch(text) is not None


def digests(texts: list[str]) -> list[bytes] | None:
    """All of them, or None if one may not be a key's digest. Cost: 0.1 us each, a tenth of asking one by one."""
    joined = ",".join(texts)
    if not texts or _DIGESTS.fullmatch(joined) is None:
        return None if texts else []
    found = joined.encode("ascii").split(b",")
    return found if len(found) == len(texts) else None  # no text of several
