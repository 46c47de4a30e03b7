"""Files of one or several documents: read, and changed so that everything else in them stays as its author left it.

A file is cut at the lines that YAML gives to that alone (`---` in the first column can stand in no scalar; YAML 1.2
section 9.1.2), so a document can be replaced by its place in the text: comments, order and style of the others stay.
Each piece is then read by the proxy's strict reader, and a piece that is broken leaves the others readable.

What is written is YAML in the plainest form, which means the same by YAML 1.1 and 1.2: whatever is not a plain word
stands in double quotes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from json import dumps
from typing import Final

from controller.errors import ObjectError
from proxy.routing.faults import TableError
from proxy.routing.text import parse_text

_SEPARATOR: Final = re.compile(rb"^(?:\A\xef\xbb\xbf)?---(?=[ \t\r\n]|\Z)", re.MULTILINE)
_LINE: Final = re.compile(r"line ([0-9]+)")
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Piece:
    """A document's place in a file: `raw[start:end]`, without the separator before it; its first line counts from 1."""

    start: int
    end: int
    line: int


def pieces(raw: bytes) -> list[Piece]:
    """The documents of a file that hold more than comments."""
    found: list[Piece] = []
    start = len(_BOM) if raw.startswith(_BOM) else 0
    line, counted = 1, 0
    for match in [*_SEPARATOR.finditer(raw), None]:
        end = match.start() if match is not None else len(raw)
        if not _is_blank(raw[start:end]):
            line += raw.count(b"\n", counted, start)
            counted = start
            found.append(Piece(start, end, line))
        if match is not None:
            start = match.end()
    return found


def _is_blank(text: bytes) -> bool:
    return all(
        not line or line.startswith(b"#") or line == b"..." for line in (each.strip() for each in text.split(b"\n"))
    )


def parse_piece(raw: bytes, piece: Piece) -> object:
    """The value of one document.

    Raises: ObjectError with one fault, which names line and column of the file.
    """
    try:
        return parse_text(raw[piece.start : piece.end])
    except TableError as error:
        faults = [_LINE.sub(lambda match: f"line {int(match[1]) + piece.line - 1}", fault, 1) for fault in error.faults]
        raise ObjectError(faults) from None


def replaced(raw: bytes, piece: Piece | None, document: Mapping[str, object]) -> bytes:
    """The file with this document in the piece's place; at its end, where there is no piece."""
    text = rendered(document)
    if piece is None:
        if not raw.strip():
            return text
        return raw + (b"" if raw.endswith(b"\n") else b"\n") + b"---\n" + text
    before, after = raw[: piece.start], raw[piece.end :]
    if before and not before.endswith(b"\n"):
        before += b"\n"  # it stood in the separator's line
    return before + text + after


def removed(raw: bytes, piece: Piece) -> bytes | None:
    """The file without the piece; None if nothing but comments is left."""
    rest = raw[: piece.start].removesuffix(b"---") + raw[piece.end :]
    return rest if pieces(rest) else None


# --- written ---------------------------------------------------------------------------------------------------------

# Words that no YAML reads as anything but text; `on`, `yes`, `null` and the like are quoted, and so are numbers.
_WORD: Final = re.compile(r"[A-Za-z/][A-Za-z0-9_./@-]*(?::[A-Za-z0-9_./@-]+)*")
_NO_WORDS: Final = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"])
_UNPRINTABLE: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def rendered(document: Mapping[str, object]) -> bytes:
    """The document as YAML, read back as the same."""
    return "".join(f"{line}\n" for line in _lines(document)).encode()


def _lines(value: object) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for name, entry in value.items():
            yield from _entry(f"{_scalar(name)}:", entry, "  " if isinstance(entry, Mapping) else "")
    elif isinstance(value, list | tuple) and value:
        for entry in value:
            lines = list(_lines(entry))
            yield f"- {lines[0]}"
            yield from (f"  {line}" for line in lines[1:])
    else:
        yield _scalar(value)


def _entry(name: str, value: object, indent: str) -> Iterator[str]:
    if isinstance(value, Mapping | list | tuple) and value:
        yield name
        yield from (indent + line for line in _lines(value))
    else:
        yield f"{name} {_scalar(value)}"


def _scalar(value: object) -> str:
    if isinstance(value, str):
        if _WORD.fullmatch(value) and value.lower() not in _NO_WORDS and len(value) <= 200:
            return value
        return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", dumps(value, ensure_ascii=False))
    if isinstance(value, Mapping | list | tuple):
        return "{}" if isinstance(value, Mapping) else "[]"
    if isinstance(value, float):
        text = repr(value)
        return text if "." in text else text.replace("e", ".0e")  # 1e+16 is text by YAML 1.1
    return dumps(value)
