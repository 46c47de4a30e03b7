"""A router's preview gateway, put together from its settings: the tokens' file, the gateway, a word to the operator."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from proxy.preview.credentials import Credentials, Tokens
from proxy.preview.gateway import Gateway
from proxy.reloading import Reloading
from proxy.routing.key import KeySettings
from proxy.tokensfile import tokens_of_file

if TYPE_CHECKING:
    from proxy.config import PreviewSettings
    from proxy.routertables import RouterTables

_log = logging.getLogger(__name__)


class Gatekeeping:
    """`reloading` reads the tokens again; None without a file of them."""

    def __init__(self, settings: PreviewSettings, keys: KeySettings, tables: RouterTables) -> None:
        """Raises: ReloadError."""
        self._file: Final = settings.token_file
        self._tables: Final = tables
        self._tokens: Final = Tokens()
        self._credentials: Final = Credentials(
            is_required=settings.is_auth_required,
            header=settings.auth_header,
            networks=settings.auth_from,
            tokens=self._tokens if self._file is not None else None,
            is_secure=settings.scheme == "https",
            lifetime_s=settings.session_s,
            clock=time.time,
        )
        self._has_warned = False
        self.gateway: Final = Gateway(tables.places, self._credentials, keys, settings.scheme)
        self.reloading: Reloading | None = None
        if self._file is not None:
            self.reloading = Reloading(settings.token_file_origin, [self._file], self._load)
        tables.on_swap(self._warn)

    def _load(self) -> None:
        """Takes what the file holds now. Raises: ReloadError, which says nothing of its content."""
        assert self._file is not None
        self._tokens.replace(tokens_of_file(self._file))

    def _warn(self) -> None:
        """Says once that nobody can see the previews that the table has."""
        if self._tables.places.previews is not None and not self._credentials.can_be_met and not self._has_warned:
            self._has_warned = True
            _log.warning(
                "the table has previews and nobody can be let in: give --preview-token-file, or --preview-auth-header"
                " and --preview-auth-from, or --preview-auth off"
            )
