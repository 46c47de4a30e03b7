"""What a store adds to objects whose authors leave it out, and keeps while they change: pure.

An object keeps its uid and its age for as long as its key stays the same. With another key it is another object: age
decides who has a key, and an old object must not take a key by being edited (CHECKLIST M7).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from hashlib import blake2b
from json import dumps
from uuid import uuid4

from controller.objects import Metadata, Object, RouteGroup, Sandbox, Status


def completed(object_: Object, before: Object | None, now: datetime, generate_key: Callable[[], str]) -> Object:
    """The object as its author wants it now, with all that a store owes it; `before` is what it was until now.

    A creation timestamp and a uid that the author gives count. The status is the one from before.
    """
    key = object_.spec.routing_key
    if before is not None and key is not None and key != before.spec.routing_key:
        before = None
    if key is None:
        key = before.spec.routing_key if before is not None else None
        object_ = with_key(object_, key or generate_key())
    given = object_.metadata
    generation = 1
    status = Status()
    if before is not None:
        generation = before.metadata.generation or 1
        generation += before.spec != object_.spec
        status = before.status
    metadata = replace(
        given,
        uid=given.uid or (before.metadata.uid if before is not None else None) or str(uuid4()),
        creation_timestamp=given.creation_timestamp
        or (before.metadata.creation_timestamp if before is not None else None)
        or now,
        generation=generation,
        resource_version=None,
    )
    complete = _with(object_, metadata, status)
    return _with(object_, replace(metadata, resource_version=_version(complete)), status)


def with_metadata(object_: Object, metadata: Metadata) -> Object:
    return _with(object_, metadata, object_.status)


def with_key(object_: Object, key: str | None) -> Object:
    if isinstance(object_, Sandbox):
        return Sandbox(object_.metadata, replace(object_.spec, routing_key=key), object_.status)
    return RouteGroup(object_.metadata, replace(object_.spec, routing_key=key), object_.status)


def with_status(object_: Object, status: Status) -> Object:
    return _with(object_, object_.metadata, status)


def authored(object_: Object) -> Object:
    """The object as it stands in a file: without what changes by itself."""
    return _with(object_, replace(object_.metadata, resource_version=None, generation=None), Status())


def _version(object_: Object) -> str:
    """Of the content, so that it outlives restarts and changes with each edit, whoever makes it. Not of the status."""
    content = [object_.metadata.document(), object_.spec.document()]
    return blake2b(dumps(content, sort_keys=True).encode(), digest_size=10).hexdigest()


def _with(object_: Object, metadata: Metadata, status: Status) -> Object:
    return replace(object_, metadata=metadata, status=status)
