"""The store that is a folder of YAML files: `--source dir:DIR`.

- Files `*.yaml`, `*.yml` and `*.json` of the folder, not of folders below, with one or several documents each.
- Users' files are read, never rewritten, except that a write changes its own object where it stands. A new object goes
  to `<namespace>.<kind>.<name>.yaml`, mode 0600, since variables may hold secrets.
- What cannot be read is reported (`faults`) and hurts nothing else: its objects keep their last good form, also over a
  restart. An object that stands in two files is reported; the first by file name counts.
- A file is read once it stands still (`following`), and only in a state that was the same before and after reading:
  half a file may be a valid, shorter one.
- A write expects the file as it was read last. If somebody has changed it meanwhile, it is read first, and the writer
  gets a `Conflict` if the object is another one now. An editor that saves in the same millisecond is not noticed: files
  have no locks that editors keep.

What files do not say is kept in a journal in the state folder: uid, age, generated key, status, and the last good form.
Without one (a mount that can't be written) it all works until the next restart.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Final

from controller.atomic import remove_file, remove_leftovers, write_file
from controller.background import aside
from controller.collector import collector_paused
from controller.documents import removed, replaced
from controller.errors import Conflict, NotFound, ObjectError, Unwritable
from controller.following import Following, file_names, stamp_of
from controller.identity import authored, completed, with_status
from controller.journal import Journal
from controller.objectfile import FileReader, ObjectFile, Stamp, file_name, piece_of
from controller.objects import Object, Ref, Status, generate_key
from controller.schema import change_faults, read_object
from controller.store import Event, check_expected
from controller.watching import Watchers

STATE_FOLDER: Final = ".pointsman"
_SLICE_DOCUMENTS: Final = 20  # about 4 ms
_MAX_BYTES: Final = 64 << 20
_LARGE_BYTES: Final = 1 << 20
_ATTEMPTS: Final = 5

_log = logging.getLogger(__name__)


class DirStore:
    """`start` first; then it follows the folder until `close`."""

    def __init__(
        self,
        folder: str,
        state_folder: str | None = None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        new_key: Callable[[], str] = generate_key,
        use_inotify: bool = True,
    ) -> None:
        self._folder: Final = os.path.abspath(folder)
        self._state_folder: Final = state_folder or os.path.join(self._folder, STATE_FOLDER)
        self._clock: Final = clock
        self._new_key: Final = new_key
        self._use_inotify: Final = use_inotify
        self._objects: Final[dict[Ref, Object]] = {}
        self._files: Final[dict[str, ObjectFile]] = {}
        self._places: Final[dict[Ref, set[str]]] = {}  # the files in which an object stands
        self._watchers: Final = Watchers(self._objects)
        self._lock: Final = asyncio.Lock()  # held by whoever reads or writes files
        self._journal: Journal | None = None
        self._following: Following | None = None
        self._unsettled: set[Ref] | None = None  # while everything is read: what to settle afterwards, in one go

    async def start(self) -> None:
        """Reads everything.

        Raises: Unwritable if another process has the state folder; OSError if there is no such folder.
        """
        self._following = Following(self._folder, self._files, self._read_again, use_inotify=self._use_inotify)
        try:
            files = file_names(self._folder)
            self._open_state(files)
        except (OSError, Unwritable):
            await self._following.close()
            raise
        async with self._lock:
            with collector_paused():
                # An object may have moved from file to file: what is missing is known when all are read.
                self._unsettled = set(self._objects)
                for name in files:
                    for _ in range(_ATTEMPTS):
                        if await self._read(name):
                            break
                refs, self._unsettled = self._unsettled, None
                await self._settle(sorted(refs))
        self._following.start()

    async def close(self) -> None:
        if self._following is not None:
            await self._following.close()
        async with self._lock:
            if self._journal is not None:
                self._journal.close()
                self._journal = None

    # --- Store -----------------------------------------------------------------------------------------------------

    async def list(self) -> tuple[Object, ...]:
        return tuple(self._objects[ref] for ref in sorted(self._objects))

    async def get(self, ref: Ref) -> Object:
        object_ = self._objects.get(ref)
        if object_ is None:
            raise NotFound(f"there is no {ref}")
        return object_

    async def put(self, object_: Object, expected: str | None = None) -> Object:
        ref = object_.ref
        async with self._lock:
            name = min(self._places.get(ref, ()), default=file_name(ref))
            raw = await self._current(name)
            before = self._objects.get(ref)
            check_expected(ref, before, expected)
            if before is not None:
                if faults := change_faults(before, object_):
                    raise ObjectError(faults)
                if object_.metadata.uid not in (None, before.metadata.uid):
                    raise Conflict(f"{ref} is another object now: its uid is {before.metadata.uid}")
            stored = authored(completed(_as_before(object_, before), before, self._clock(), self._new_key))
            document = stored.document()
            read_object(document)
            piece = piece_of(raw, ref)
            await self._write(name, lambda path: write_file(path, replaced(raw, piece, document)))
            if ref not in self._objects:
                raise Conflict(f"{ref} was taken out of {name} by somebody else")
            return self._objects[ref]

    async def put_statuses(self, statuses: Mapping[Ref, Status]) -> None:
        async with self._lock:
            changed = [ref for ref, status in statuses.items() if self._has_other_status(ref, status)]
            for ref in changed:
                self._objects[ref] = with_status(self._objects[ref], statuses[ref])
            await self._keep(changed)
            self._watchers.changed(changed)

    async def delete(self, ref: Ref, expected: str | None = None) -> None:
        async with self._lock:
            if ref not in self._objects:
                raise NotFound(f"there is no {ref}")
            for name in sorted(self._places[ref]):
                raw = await self._current(name)
                if ref not in self._objects:
                    return  # somebody has taken it out meanwhile
                check_expected(ref, self._objects[ref], expected)
                piece = piece_of(raw, ref)
                if piece is None:
                    raise Conflict(f"{name} can't be read now, and {ref} stood in it")
                rest = removed(raw, piece)
                if rest is None:
                    await self._write(name, remove_file)
                else:
                    await self._write(name, _writer_of(rest))
                expected = None  # what other files say of it does not count

    def watch(self) -> AsyncIterator[Event]:
        return self._watchers.watch()

    @property
    def faults(self) -> Mapping[str, tuple[str, ...]]:
        """What is wrong, by file name."""
        found = {name: file.faults for name, file in sorted(self._files.items()) if file.faults}
        for ref, names in sorted(self._places.items()):
            if len(names) > 1:
                first, *others = sorted(names)
                for name in others:
                    found[name] = (*found.get(name, ()), f"{ref} stands in {first} already, and the first counts")
        return found

    # --- files -----------------------------------------------------------------------------------------------------

    async def _current(self, name: str) -> bytes:
        """The file's content, which is what the objects are made of now; empty if there is no file."""
        path = os.path.join(self._folder, name)
        for _ in range(_ATTEMPTS):
            stamp = stamp_of(path)
            if stamp != self._file(name).stamp and not await self._read(name):
                continue
            try:
                raw = await _content(path, stamp) if stamp is not None else b""
            except OSError as error:
                raise Unwritable(f"{name}: can't be read: {error.strerror}") from None
            if stamp_of(path) == self._file(name).stamp:
                if self._file(name).faults and raw.strip() == b"":
                    raise Conflict(f"{name} is being written by somebody else")
                return raw
        raise Conflict(f"{name} is being written by somebody else")

    async def _write(self, name: str, write: Callable[[str], None]) -> None:
        """Does it, and takes the file as it is then."""
        path = os.path.join(self._folder, name)
        try:
            await aside(write, path)
        except OSError as error:
            raise Unwritable(f"{name}: can't be written: {error.strerror}") from None
        for _ in range(_ATTEMPTS):
            if await self._read(name):
                return
        raise Conflict(f"{name} is being written by somebody else")

    async def _read(self, name: str) -> bool:
        """Takes the file's objects as they stand in it now; False if it did not stand still."""
        path = os.path.join(self._folder, name)
        before = self._file(name)
        stamp = stamp_of(path)
        if stamp is None:
            await self._take(name, None)
            return True
        try:
            if stamp[2] > _MAX_BYTES:
                raise OSError(0, f"more than {_MAX_BYTES >> 20} MiB")
            raw = await _content(path, stamp)
            if stamp_of(path) != stamp:
                return False
        except OSError as error:
            await self._take(name, ObjectFile(stamp, before.objects, (f"can't be read: {error.strerror}",)))
            return True
        reader = FileReader(raw, stamp, before)
        for number in count(1):
            if not reader.step():
                break
            if number % _SLICE_DOCUMENTS == 0:
                await asyncio.sleep(0)
        await self._take(name, reader.file())
        return True

    async def _read_again(self, name: str) -> bool:
        """Takes a file that others have changed; False if it does not stand still."""
        async with self._lock:
            return await self._read(name)

    def _file(self, name: str) -> ObjectFile:
        """What was read of it; before the first time, what the journal says of it."""
        return self._files.get(name, ObjectFile())

    async def _take(self, name: str, file: ObjectFile | None) -> None:
        before = self._file(name)
        if file is None:
            self._files.pop(name, None)
        else:
            self._files[name] = file
        objects: Mapping[Ref, Object] = file.objects if file is not None else {}
        for ref in before.objects.keys() - objects.keys():
            self._places[ref].discard(name)
            if not self._places[ref]:
                del self._places[ref]
        for ref in objects:
            self._places.setdefault(ref, set()).add(name)
        if file is not None and file.faults != before.faults:
            for fault in file.faults[:10]:
                _log.warning("%s: %s", os.path.join(self._folder, name), fault)
        await self._settle(before.objects.keys() | objects.keys())

    async def _settle(self, refs: Iterable[Ref]) -> None:
        """Makes these objects what the files say now, keeps that, and tells the watchers."""
        if self._unsettled is not None:
            self._unsettled.update(refs)
            return
        changed: list[Ref] = []
        for ref in refs:
            before = self._objects.get(ref)
            names = self._places.get(ref)
            if not names:
                if before is not None:
                    del self._objects[ref]
                    changed.append(ref)
                continue
            object_ = completed(self._files[min(names)].objects[ref], before, self._clock(), self._new_key)
            if object_ != before:
                self._objects[ref] = object_
                changed.append(ref)
        if changed:
            await self._keep(changed)  # before anybody hears of a generated key
            self._watchers.changed(changed)

    # --- state -----------------------------------------------------------------------------------------------------

    def _open_state(self, files: Sequence[str]) -> None:
        """Objects as they were when somebody looked last; of these files, in case that one is broken now."""
        try:
            os.makedirs(self._state_folder, mode=0o700, exist_ok=True)
            remove_leftovers(self._state_folder)
            self._journal = Journal(os.path.join(self._state_folder, "objects"))
            remove_leftovers(self._folder)
        except OSError as error:
            _log.warning(
                "no state in %s (%s): ages and generated keys last until the next start", self._state_folder, error
            )
            return
        if self._journal.damaged:
            _log.warning("%d records in %s are damaged and not used", self._journal.damaged, self._state_folder)
        in_files: dict[str, dict[Ref, Object]] = {}
        for name, value in self._journal.entries():
            try:
                assert isinstance(value, dict)
                object_ = read_object(value["object"])
                file = value["file"]
            except (AssertionError, KeyError, ObjectError) as error:
                _log.warning("record %s in %s is not used: %s", name, self._state_folder, error)
                continue
            self._objects[object_.ref] = object_
            in_files.setdefault(file, {})[object_.ref] = object_
        for file, objects in in_files.items():
            if file in files:
                self._files[file] = ObjectFile(None, objects)
                for ref in objects:
                    self._places.setdefault(ref, set()).add(file)

    def _has_other_status(self, ref: Ref, status: Status) -> bool:
        object_ = self._objects.get(ref)
        return object_ is not None and object_.status != status

    async def _keep(self, refs: Iterable[Ref]) -> None:
        if self._journal is None:
            return
        records: dict[str, object | None] = {}
        for ref in refs:
            object_ = self._objects.get(ref)
            record = None
            if object_ is not None:
                record = {"file": min(self._places[ref]), "object": object_.document()}
            records["/".join(ref)] = record
        try:
            await aside(self._journal.write, records)
        except OSError as error:
            _log.error("state in %s can't be written: %s", self._state_folder, error.strerror)


def _as_before(object_: Object, before: Object | None) -> Object:
    """What a writer may not set: the age of an object."""
    metadata = object_.metadata
    kept = before.metadata.creation_timestamp if before is not None else None
    uid = before.metadata.uid if before is not None else None
    return replace(object_, metadata=replace(metadata, creation_timestamp=kept, uid=uid))


def _writer_of(content: bytes) -> Callable[[str], None]:
    return lambda path: write_file(path, content)


async def _content(path: str, stamp: Stamp) -> bytes:
    """A large file aside; reading a small one takes less than changing threads."""
    return await aside(_read_file, path) if stamp[2] > _LARGE_BYTES else _read_file(path)


def _read_file(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
