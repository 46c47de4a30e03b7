"""What becomes of a preview's request head before it is decided like any other (SPEC 4, preview gateway).

- Members of all key names leave `baggage` and `tracestate`, broken ones too, and the configured key headers go. The
  preview's key is appended to `baggage`, where the last occurrence counts, and prepended to `tracestate`, where the
  first does; so every reader finds it, whichever of the two it reads. Other members stay byte for byte, in order.
- Host becomes the upstream's.
- Nothing that a visitor wrote may pass for a proxy's word: all of `x-forwarded-*` goes, so does `forwarded` (RFC 7239),
  and `x-forwarded-for`, `-host` and `-proto` say what is known here. `_` in a name counts as `-`.
- What proved who the visitor is stays here: a sandbox is code under review.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from proxy.codec.edits import edit_fields, prepared, set_host
from proxy.codec.events import RequestHead
from proxy.preview.credentials import Credentials, dashed
from proxy.routing.baggage import OWS
from proxy.routing.key import KeySettings

_X_FORWARDED: Final = b"x-forwarded-"


def enter(
    head: RequestHead,
    key: bytes,
    authority: bytes,
    keys: KeySettings,
    credentials: Credentials,
    peer: bytes,
    scheme: bytes,
) -> None:
    """Makes a preview's request one for `authority` under `key`. `peer`: the caller's address; `scheme`: what visitors'
    browsers speak to whatever stands before the gateway."""
    host = head.host
    member = keys.names[0] + b"=" + key
    baggage = with_member(head.baggage, keys.names, member, is_first=False)
    tracestate = with_member(head.tracestate, keys.names, member, is_first=True)
    new_values = {b"baggage": iter(baggage), b"tracestate": iter(tracestate)}

    key_headers = [dashed(header) for header in keys.headers]

    def edit(name: bytes, value: bytes) -> bytes | None:
        values = new_values.get(name)
        if values is not None:
            return next(values)
        name = dashed(name)
        if name.startswith(_X_FORWARDED) or name == b"forwarded" or name in key_headers:
            return None
        return credentials.without(name, value)

    edit_fields(head, edit)
    for name in new_values:
        for value in new_values[name]:  # there was no such line
            if value is not None:
                head.append(prepared(name, value))
    head.baggage = [value for value in baggage if value is not None]
    head.tracestate = [value for value in tracestate if value is not None]
    head.key_fields = ()
    set_host(head, authority)
    head.append(prepared(b"X-Forwarded-For", peer))
    head.append(prepared(b"X-Forwarded-Host", host))
    head.append(prepared(b"X-Forwarded-Proto", scheme))


def with_member(lines: Sequence[bytes], names: Sequence[bytes], member: bytes, *, is_first: bool) -> list[bytes | None]:
    """A list field's lines without the members of these names, and with this one, at the very beginning or end.

    Each line stands in its place, None where nothing of it is left; one line more where there was none.
    """
    kept = [without_members(line, names) for line in lines] or [None]
    left = [(place, line) for place, line in enumerate(kept) if line is not None]
    if not left:
        kept[0] = member
    elif is_first:
        place, line = left[0]
        kept[place] = member + b"," + line
    else:
        place, line = left[-1]
        kept[place] = line + b"," + member
    return kept


def without_members(line: bytes, names: Sequence[bytes]) -> bytes | None:
    """The line without the members of these names; None if nothing is left.

    A member's name is what stands before `=` or `;`, trimmed, whether it is broken or not: other readers may be laxer.
    """
    members = line.split(b",")
    kept = [member for member in members if member.partition(b"=")[0].partition(b";")[0].strip(OWS) not in names]
    if len(kept) < len(members):
        line = b",".join(kept).strip(OWS)
    return line if line.strip(b", \t") else None
