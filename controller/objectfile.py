"""What stands in one file of a folder: its objects, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.documents import Piece, parse_piece, pieces
from controller.errors import ObjectError
from controller.objects import Object, Ref
from controller.schema import read_object, read_ref

Stamp = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class ObjectFile:
    """`stamp`: the file's state that was read; None: none was. `objects`: in its last good form each."""

    stamp: Stamp | None = None
    objects: Mapping[Ref, Object] = field(default_factory=dict)
    faults: tuple[str, ...] = ()


@dataclass(slots=True)
class _Reading:
    objects: dict[Ref, Object] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    broken: set[Ref] = field(default_factory=set)  # known, but not readable
    is_sure: bool = True  # every broken document says which object it is


class FileReader:
    """Reads a file document by document (`step`), so that a large one can be read in slices."""

    def __init__(self, raw: bytes, stamp: Stamp, before: ObjectFile) -> None:
        self._raw = raw
        self._stamp = stamp
        self._before = before
        self._reading = _Reading()
        self._pieces = pieces(raw)
        if not raw.strip():  # a writer that was cut off, not one that wants all objects deleted
            self._reading.faults.append("is empty")
            self._reading.is_sure = False
        self._next = 0

    def step(self) -> bool:
        """Reads one document more; False: all are read."""
        if self._next == len(self._pieces):
            return False
        piece = self._pieces[self._next]
        self._next += 1
        self._read(piece)
        return True

    def file(self) -> ObjectFile:
        """What stands in the file. What is broken keeps its last good form; where it is not known what is broken, all
        that is missing does."""
        reading = self._reading
        kept = {
            ref: object_
            for ref, object_ in self._before.objects.items()
            if ref not in reading.objects and (ref in reading.broken or not reading.is_sure)
        }
        return ObjectFile(self._stamp, {**reading.objects, **kept}, tuple(reading.faults))

    def _read(self, piece: Piece) -> None:
        reading = self._reading
        place = f"document {self._next} (line {piece.line})" if len(self._pieces) > 1 else ""
        try:
            document = parse_piece(self._raw, piece)
        except ObjectError as error:
            reading.faults.extend(error.faults)
            reading.is_sure = False
            return
        if document is None:
            return
        ref = read_ref(document)
        try:
            object_ = read_object(document)
        except ObjectError as error:
            reading.faults.extend(f"{place}: {fault}" if place else fault for fault in error.faults)
            if ref is not None:
                reading.broken.add(ref)
            else:
                reading.is_sure = False
            return
        if object_.ref in reading.objects:
            reading.faults.append(f"{place}: {object_.ref} stands in this file already, and the first counts")
        else:
            reading.objects[object_.ref] = object_


def piece_of(raw: bytes, ref: Ref) -> Piece | None:
    """Where the object stands in the file: the first place."""
    for piece in pieces(raw):
        try:
            if read_ref(parse_piece(raw, piece)) == ref:
                return piece
        except ObjectError:
            continue
    return None


def file_name(ref: Ref) -> str:
    """The name of the file for an object that stands in none yet. Names hold no dots, so it says all."""
    return f"{ref.namespace}.{ref.kind.lower()}.{ref.name}.yaml"
