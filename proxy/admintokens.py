"""Whose word counts on the admin pages: the tokens of `--admin-token-file`, which is read again when it changes.

Several may stand in it, so that a token can be renewed: add the new one, hand it out, take the old one out.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from proxy.codec.edits import values_of
from proxy.codec.events import RequestHead
from proxy.reloading import ReloadError, Reloading
from proxy.tokensfile import tokens_of_file

if TYPE_CHECKING:
    from proxy.config import Settings

_BLANKS: Final = b" \t"


class AdminTokens:
    """`reloading` keeps them fresh."""

    def __init__(self, path: str, origin: str) -> None:
        """`origin`: the flag or the variable. Raises: ReloadError."""
        self._path: Final = path
        self._digests: tuple[bytes, ...] = ()
        self.reloading: Final = Reloading(origin, [path], self._load)

    def _load(self) -> None:
        tokens = tokens_of_file(self._path)
        if not tokens:
            raise ReloadError(f"{self._path}: holds no token")
        self._digests = tuple([sha256(token).digest() for token in tokens])

    def are_shown_by(self, head: RequestHead) -> bool:
        """Whether the request has `Authorization: Bearer` with one of them. In constant time, compared with all."""
        is_known = False
        for value in values_of(head, b"authorization"):
            scheme, _, token = value.partition(b" ")
            if scheme.lower() == b"bearer":
                given = sha256(token.strip(_BLANKS)).digest()
                for digest in self._digests:
                    is_known |= hmac.compare_digest(digest, given)
        return is_known


def admin_tokens(settings: Settings) -> AdminTokens | None:
    """Those that are asked for; None: nobody is.

    Raises: ReloadError.
    """
    path = settings.admin_token_file
    return AdminTokens(path, settings.origins.admin_token_file) if path is not None else None
