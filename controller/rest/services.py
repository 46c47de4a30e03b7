"""What the pages stand on, in one value that the application carries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aiohttp import web

from controller.access import ANYBODY, Identity
from controller.engine import Engine
from controller.feed.hub import Hub
from controller.rest.problems import Problem
from controller.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """`identify`: whose a token is; None: there are no tokens, and whoever reaches us may do everything."""

    store: Store
    engine: Engine
    hub: Hub
    identify: Callable[[str], Identity | None] | None
    clock: Callable[[], datetime]


SERVICES: Final = web.AppKey("services", Services)
_IDENTITY: Final = "pointsman.identity"


def services(request: web.Request) -> Services:
    return request.app[SERVICES]


def identity(request: web.Request) -> Identity:
    """Who asks."""
    found = request.get(_IDENTITY, ANYBODY)
    assert isinstance(found, Identity)
    return found


def set_identity(request: web.Request, who: Identity) -> None:
    request[_IDENTITY] = who


def synced_engine(request: web.Request) -> Engine:
    """Raises: Problem until the store is read."""
    engine = services(request).engine
    if engine.compilation is None:
        raise Problem("not-synced", "the controller has not read its objects yet", headers={"Retry-After": "1"})
    return engine
