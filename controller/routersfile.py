"""The file of what routers get (`routers`), as it was when it could be read last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from controller.routers import ForRouters, read_for_routers
from proxy.reloading import ReloadError
from proxy.routing.faults import TableError

_MAX_BYTES: Final = 16 << 20


class RoutersFile:
    """`content` is in force; `on_change` is told of another one."""

    def __init__(self, path: str | None, preview_domain: str | None, calls_by_destination: bool) -> None:
        self._path: Final = path
        self._preview_domain: Final = preview_domain
        self.content = ForRouters(calls_by_destination=calls_by_destination)
        self.on_change: Callable[[ForRouters], None] = lambda _: None

    def load(self) -> None:
        """Raises: ReloadError; then nothing has changed."""
        try:
            with open(self._path or "", "rb") as file:
                raw = file.read(_MAX_BYTES + 1)
            if len(raw) > _MAX_BYTES:
                raise TableError([f"must be at most {_MAX_BYTES >> 20} MiB"])
            services, previews = read_for_routers(raw, self._preview_domain)
        except OSError as error:
            raise ReloadError(f"{self._path}: can't be read: {error.strerror}") from None
        except TableError as error:
            raise ReloadError(f"{self._path}: {error}") from None
        self.content = replace(self.content, services=services, previews=previews)
        self.on_change(self.content)
