"""What the API offers: one row each, of which both the route and its part of the OpenAPI document are made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from controller.access import READ

OPEN: Final = "open"  # in place of a role: whoever reaches us

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Parameter:
    """In the query; those in the path are made of it."""

    name: str
    text: str
    schema: Mapping[str, object] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, slots=True)
class Answer:
    """`schema`: the name of one in `openapi`, or a schema; None: text."""

    text: str
    schema: str | Mapping[str, object] | None = None
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Operation:
    """`path` as OpenAPI and aiohttp both write it. A `{namespace}` in it must be one that the asker sees."""

    method: str
    path: str
    handle: Handler
    summary: str
    answers: Mapping[int, Answer]
    role: str = READ
    parameters: tuple[Parameter, ...] = ()
    body: str | Mapping[str, object] | None = None  # a schema, as in answers
    problems: tuple[int, ...] = ()  # statuses of its own, beside 401, 403 and 503
    tag: str = "objects"
    verb: str | None = None  # what the audit log calls it, if it changes something
    kind: str | None = None  # of the object that the path names


# What an application serves, by method and path.
OPERATIONS_KEY: Final = web.AppKey("operations", dict[tuple[str, str], Operation])
