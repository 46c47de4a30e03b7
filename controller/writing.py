"""Changes that others ask for, by the rules that hold whoever asks: conflicts, what may be set, quotas, dry runs.

One change at a time, so that what was counted and compared still holds when it is written. Only people who edit files
can come in between, and the store sees that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final

from controller.errors import Conflict, Deleting, NotFound, ObjectError, OverQuota
from controller.identity import completed, with_key, with_metadata
from controller.objects import Object, Ref, generate_key
from controller.quotas import Quotas
from controller.schema import change_faults
from controller.store import NONE_YET, Store, check_expected

_ATTEMPTS: Final = 5


class Writer:
    """Raises, at both: Conflict and what is under it; Unwritable."""

    def __init__(self, store: Store, quotas: Quotas, clock: Callable[[], datetime]) -> None:
        self._store: Final = store
        self._quotas: Final = quotas
        self._clock: Final = clock
        self._lock: Final = asyncio.Lock()

    async def put(
        self, object_: Object, expected: str | None = None, *, is_dry: bool = False
    ) -> tuple[Object, Object | None]:
        """The object as it is stored now, and as it was before (None: it is new). `expected`: as in `Store.put`. If
        dry, all is checked and nothing stored; a key that would be generated is left out.

        Raises: ObjectError; OverQuota.
        """
        async with self._lock:
            for attempt in range(_ATTEMPTS):
                before = await self._present(object_.ref)
                check_expected(object_.ref, before, expected)
                if before is not None and before.metadata.deletion_timestamp is not None:
                    raise Deleting(f"{object_.ref} is being deleted: wait until it is gone")
                if before is not None and object_.metadata.uid not in (None, before.metadata.uid):
                    raise Conflict(f"{object_.ref} is another object now: its uid is {before.metadata.uid}")
                wanted = _writable(object_, before)
                if before is not None and (faults := change_faults(before, wanted)):
                    raise ObjectError(faults)
                if self._quotas.has_any:
                    refusal = self._quotas.refusal(wanted, before, await self._store.list())
                    if refusal is not None:
                        raise OverQuota(refusal)
                if is_dry:
                    return self._foreseen(wanted, before), before
                version = before.metadata.resource_version if before is not None else NONE_YET
                try:
                    return await self._store.put(wanted, version), before
                except Conflict:
                    if expected is not None or attempt == _ATTEMPTS - 1:
                        raise
        raise AssertionError

    async def delete(self, ref: Ref, expected: str | None = None, *, is_dry: bool = False) -> Object:
        """The object, which goes from now on: its routes are taken away, then it is removed (`lifecycle`).

        Raises: NotFound.
        """
        async with self._lock:
            for attempt in range(_ATTEMPTS):
                before = await self._store.get(ref)
                if before.metadata.deletion_timestamp is not None:
                    return before
                check_expected(ref, before, expected)
                going = with_metadata(before, replace(before.metadata, deletion_timestamp=self._clock()))
                if is_dry:
                    return going
                try:
                    return await self._store.put(going, before.metadata.resource_version)
                except Conflict:
                    if expected is not None or attempt == _ATTEMPTS - 1:
                        raise
        raise AssertionError

    async def _present(self, ref: Ref) -> Object | None:
        try:
            return await self._store.get(ref)
        except NotFound:
            return None

    def _foreseen(self, wanted: Object, before: Object | None) -> Object:
        found = completed(wanted, before, self._clock(), generate_key)
        key = wanted.spec.routing_key or (before.spec.routing_key if before is not None else None)
        metadata = found.metadata
        if before is None:
            metadata = replace(metadata, uid=None, resource_version=None)
        return with_key(with_metadata(found, metadata), key)


def _writable(object_: Object, before: Object | None) -> Object:
    """Without what is not the writer's to set: which object it is, how old, when it is deleted, and by whom."""
    kept = before.metadata if before is not None else None
    metadata = replace(
        object_.metadata,
        uid=kept.uid if kept is not None else None,
        creation_timestamp=kept.creation_timestamp if kept is not None else None,
        deletion_timestamp=None,
        finalizers=kept.finalizers if kept is not None else (),
    )
    return with_metadata(object_, metadata)
