"""What a store of objects must do: a folder of files does it, and Kubernetes will.

- An object that a store gives out is complete: uid, creation timestamp, generation, resource version and a routing key,
  generated where its author gave none.
- A resource version is opaque: it says whether an object is still the one that somebody read. A writer names the one
  that it expects, so the second of two writers gets a `Conflict` instead of undoing what the first one did.
- A watch begins with everything that there is, and every later state of an object follows. States that a slow reader
  has not taken yet are passed over, the latest never is; so a reader costs no more memory than there are objects.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from controller.errors import Conflict, Exists
from controller.objects import Object, Ref, Status

NONE_YET: Final = ""  # as `expected`: there must be no such object


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All objects: what was known before and is not among them is gone. The first event; may come again."""

    objects: tuple[Object, ...]


@dataclass(frozen=True, slots=True)
class Changed:
    """An object is new or has another state."""

    object: Object


@dataclass(frozen=True, slots=True)
class Deleted:
    ref: Ref


Event = Snapshot | Changed | Deleted


class Store(Protocol):
    async def list(self) -> tuple[Object, ...]:
        """All objects, by kind, namespace and name."""

    async def get(self, ref: Ref) -> Object:
        """Raises: NotFound."""

    async def put(self, object_: Object, expected: str | None = None) -> Object:
        """The object as it is stored now; its status is not taken (`put_statuses`).

        `expected`: the resource version that it must have, `NONE_YET` if it must be new, None for whatever it is.
        Raises: Conflict; ObjectError for a change that may not be (`schema.change_faults`); Unwritable.
        """

    async def put_statuses(self, statuses: Mapping[Ref, Status]) -> None:
        """Keeps the statuses of the objects that there are. Their resource versions stay. Raises: Unwritable."""

    async def delete(self, ref: Ref, expected: str | None = None) -> None:
        """Raises: NotFound, Conflict, Unwritable."""

    def watch(self) -> AsyncIterator[Event]:
        """The events from here on, for ever."""

    @property
    def faults(self) -> Mapping[str, tuple[str, ...]]:
        """What can't be read, by its place: it has no object, or its object is an older state."""


def check_expected(ref: Ref, before: Object | None, expected: str | None) -> None:
    """What `put` and `delete` promise of `expected`. Raises: Conflict, Exists."""
    if expected is None:
        return
    if before is None:
        if expected != NONE_YET:
            raise Conflict(f"{ref} is gone")
    elif expected == NONE_YET:
        raise Exists(f"{ref} exists already")
    elif expected != before.metadata.resource_version:
        raise Conflict(f"{ref} has changed: its resourceVersion is {before.metadata.resource_version}, not {expected}")
