"""The few changes that a proxy makes to a request's head (SPEC 4), in either form; off the common path."""

from __future__ import annotations

from collections.abc import Callable

from proxy.codec.events import Prepared, RequestHead, ResponseHead
from proxy.codec.fields import FieldLine
from proxy.codec.h2.hpack import field_line
from proxy.codec.translate import origin_form


def prepared(name: bytes, value: bytes) -> Prepared:
    """A field to add to heads."""
    return Prepared(name + b": " + value, field_line(name.lower(), value))


def set_one_line(head: RequestHead, name: bytes, value: bytes) -> None:
    """All lines of a list field `name` (lowercase) become one with this value, at the first one's place."""
    is_first = True
    if head.is_http2:
        fields: list[FieldLine] = []
        for field in head.fields:
            if field.name != name:
                fields.append(field)
            elif is_first:
                is_first = False
                fields.append(field_line(name, value))
        head.fields = fields
        return
    lines = [head.lines[0]]
    for line in head.lines[1:]:
        spelled = line.partition(b":")[0]
        if spelled.lower() != name:
            lines.append(line)
        elif is_first:
            is_first = False
            lines.append(spelled + b": " + value)
    head.lines = lines


def set_host(head: RequestHead, authority: bytes) -> None:
    """The head gets this Host or `:authority`, at the old one's place; first of all fields where there was none.

    A target in absolute-form names the old one, and would count before Host: it becomes origin-form.
    """
    head.host = authority
    if head.is_http2:
        others = [field for field in head.fields if field.name not in (b":authority", b"host")]
        head.fields = [field_line(b":authority", authority), *others]
        return
    lines = head.lines
    host = b"Host: " + authority
    replaced = [host if line.partition(b":")[0].lower() == b"host" else line for line in lines]
    head.lines = replaced if host in replaced else [lines[0], host, *lines[1:]]
    if head.target[:1] != b"/":
        head.target = origin_form(head.method, head.target)
        head.lines[0] = b"%b %b HTTP/1.1" % (head.method, head.target)


def edit_fields(head: RequestHead | ResponseHead, edit: Callable[[bytes, bytes], bytes | None]) -> None:
    """Each field becomes what `edit` makes of its lowercase name and its value: another value, or None to be dropped.
    What is not changed stays byte for byte."""
    if head.is_http2:
        fields: list[FieldLine] = []
        for field in head.fields:
            new_value = edit(field.name, field.value)
            if new_value == field.value:
                fields.append(field)
            elif new_value is not None:
                fields.append(field_line(field.name, new_value))
        head.fields = fields
        return
    lines = [head.lines[0]]
    for line in head.lines[1:]:
        spelled, _, rest = line.partition(b":")
        value = rest.strip(b" \t")
        edited = edit(spelled.lower(), value)
        if edited == value:
            lines.append(line)
        elif edited is not None:
            lines.append(spelled + b": " + edited)
    head.lines = lines


def values_of(head: RequestHead, name: bytes) -> list[bytes]:
    """The values of all lines of the field `name` (lowercase), in order."""
    if head.is_http2:
        return [field.value for field in head.fields if field.name == name]
    fields = (line.partition(b":") for line in head.lines[1:])
    return [value.strip(b" \t") for spelled, _, value in fields if spelled.lower() == name]


def append_forwarded(head: RequestHead, peer: bytes) -> None:
    """The caller's address at the end of `X-Forwarded-For`, and `X-Forwarded-Proto` if the head has none."""
    values = values_of(head, b"x-forwarded-for")
    has_proto = bool(values_of(head, b"x-forwarded-proto"))
    value = b", ".join([*filter(None, values), peer])
    if values:
        set_one_line(head, b"x-forwarded-for", value)
    else:
        head.append(prepared(b"X-Forwarded-For", value))
    if not has_proto:
        head.append(prepared(b"X-Forwarded-Proto", b"http"))
