"""The listener's certificate. A renewed one counts for new connections; those that stand are not touched."""

from __future__ import annotations

import ssl
from typing import Final

from proxy.reloading import ReloadError


class Certificate:
    """`context` is for the listener, and stays the same."""

    def __init__(self, certificate_file: str, key_file: str) -> None:
        self._certificate_file: Final = certificate_file
        self._key_file: Final = key_file
        self.context: Final = _context()

    def load(self) -> None:
        """Takes what the files hold now. Raises: ReloadError; then nothing has changed."""
        self._load_into(_context())  # a chain without its key would be half taken
        self._load_into(self.context)

    def _load_into(self, context: ssl.SSLContext) -> None:
        try:
            # Without a password: a key that needs one would be asked for at the terminal.
            context.load_cert_chain(self._certificate_file, self._key_file, password=lambda: b"")
        except ssl.SSLError as error:
            why = error.reason or "is no PEM certificate with its key"
            raise ReloadError(f"{self._certificate_file}, {self._key_file}: {why}") from None
        except OSError as error:
            raise ReloadError(f"{self._certificate_file}, {self._key_file}: can't be read: {error.strerror}") from None


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
