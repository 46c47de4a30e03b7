"""Files with objects: read, split and checked as a whole, so that nothing is sent as long as something is wrong.

A file may hold several documents of both kinds, and lists as `list --output json` prints them. The controller checks
again: this is only to name every fault of every document at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from controller.documents import parse_piece, pieces
from controller.errors import ObjectError
from controller.objects import Ref
from controller.schema import read_object
from pointsman.cli.exits import INVALID, Failure

STDIN: Final = "-"
_LISTS: Final = ("SandboxList", "RouteGroupList")


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object to apply, as its author wrote it, with a namespace."""

    ref: Ref
    document: dict[str, object]


@dataclass(frozen=True, slots=True)
class Namespaces:
    """The namespace of objects that name none; `only`: others are a fault, since the command line named this one."""

    default: str
    only: bool


def read_manifests(names: Sequence[str], read: Callable[[str], bytes], namespaces: Namespaces) -> list[Manifest]:
    """The objects of all files, in order. `read` gives a file's content.

    Raises: Failure with every fault.
    """
    faults: list[str] = []
    found: dict[Ref, Manifest] = {}
    places: dict[Ref, str] = {}
    for name in names:
        shown = "standard input" if name == STDIN else name
        try:
            documents = list(_documents(read(name), shown, faults))
        except OSError as error:
            faults.append(f"{shown}: can't be read: {error.strerror}")
            continue
        if not documents and not faults:
            faults.append(f"{shown}: holds no object")
        for place, document in documents:
            manifest = _manifest(document, place, namespaces, faults)
            if manifest is None:
                continue
            first = places.setdefault(manifest.ref, place)
            if first != place:
                faults.append(f"{place}: {manifest.ref} stands in {first} already")
            found.setdefault(manifest.ref, manifest)
    if faults:
        raise Failure(INVALID, faults=tuple(faults))
    return list(found.values())


def _documents(raw: bytes, name: str, faults: list[str]) -> Iterator[tuple[str, object]]:
    found = pieces(raw)
    for number, piece in enumerate(found, 1):
        place = name if len(found) == 1 else f"{name}: document {number} (line {piece.line})"
        try:
            document = parse_piece(raw, piece)
        except ObjectError as error:
            faults.extend(f"{name}: {fault}" for fault in error.faults)
            continue
        if isinstance(document, dict) and document.get("kind") in _LISTS and isinstance(document.get("items"), list):
            for index, item in enumerate(document["items"]):
                yield f"{place}: items[{index}]", item
        elif document is not None:
            yield place, document


def _manifest(document: object, place: str, namespaces: Namespaces, faults: list[str]) -> Manifest | None:
    metadata = document.get("metadata") if isinstance(document, dict) else None
    if isinstance(metadata, dict):
        metadata.setdefault("namespace", namespaces.default)
    try:
        object_ = read_object(document)
    except ObjectError as error:
        faults.extend(f"{place}: {fault}" for fault in error.faults)
        return None
    assert isinstance(document, dict)
    if namespaces.only and object_.ref.namespace != namespaces.default:
        faults.append(f"{place}: metadata.namespace: is {object_.ref.namespace}, --namespace says {namespaces.default}")
    return Manifest(object_.ref, document)
