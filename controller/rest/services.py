"""What the pages stand on, in one value that the application carries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from aiohttp import web

from controller.access import Identity
from controller.audit import Audit
from controller.engine import Engine
from controller.feed.hub import Hub
from controller.live.watch import Watch
from controller.objects import Ref
from controller.rest.problems import Problem
from controller.store import Store
from controller.writing import Writer

if TYPE_CHECKING:  # the pages themselves, which stand on this
    from controller.rest.metrics import MetricSource
    from controller.rest.ruleswatch import RulesFeed


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """`identify`: whose a token is; None: there are no tokens, and whoever reaches us may do everything."""

    store: Store
    engine: Engine
    hub: Hub
    writer: Writer
    audit: Audit
    rules: RulesFeed
    live: Watch
    metrics: Sequence[MetricSource]
    identify: Callable[[str], Identity | None] | None
    clock: Callable[[], datetime]


SERVICES: Final = web.AppKey("services", Services)
_IDENTITY: Final = web.RequestKey("identity", Identity)
_CHANGED: Final = web.RequestKey("changed", Ref)


def services(request: web.Request) -> Services:
    return request.app[SERVICES]


def identity(request: web.Request) -> Identity | None:
    """Who asks; None: nobody whom we know."""
    return request.get(_IDENTITY)


def bearer(request: web.Request) -> str | None:
    """The token in the request."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def sees(request: web.Request, namespace: str) -> bool:
    """Whether whoever asks may know of what is in that namespace."""
    who = identity(request)
    return who is not None and who.sees(namespace)


def sees_all(request: web.Request) -> bool:
    """Whether whoever asks may know of what is in every namespace."""
    who = identity(request)
    return who is not None and who.namespaces is None


def set_identity(request: web.Request, who: Identity) -> None:
    request[_IDENTITY] = who


def changed(request: web.Request) -> Ref | None:
    """Which object the request is to change, where its path does not say it."""
    return request.get(_CHANGED)


def set_changed(request: web.Request, ref: Ref) -> None:
    request[_CHANGED] = ref


def synced_engine(request: web.Request) -> Engine:
    """Raises: Problem until the store is read."""
    engine = services(request).engine
    if engine.compilation is None:
        raise Problem("not-synced", "the controller has not read its objects yet", headers={"Retry-After": "1"})
    return engine
