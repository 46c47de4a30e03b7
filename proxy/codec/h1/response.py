"""Reads responses. Spec: RFC 9112 sections 4 and 6.3.

The reader must know which request a response answers (`expect`), because HEAD and the status decide whether a body
follows. A 1xx head is an event of its own; the final head follows it.
"""

from __future__ import annotations

import re
from typing import Final

from proxy import errors
from proxy.codec import fields
from proxy.codec.events import CHUNKED, NO_BODY, UNTIL_CLOSE, ResponseHead
from proxy.codec.fields import FieldKinds
from proxy.codec.h1.reader import HeadLimits, MessageReader, connection_options

# status-line = HTTP-version SP status-code SP [ reason-phrase ]; many servers leave the second blank out.
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: [\t \x21-\x7e\x80-\xff]*)?")
# Status lines of HTTP/1.1 met before; a server has few.
_STATUSES: Final[dict[bytes, int]] = {}
_NOTHING_KNOWN: Final[dict[bytes, int]] = {}  # HTTP/1.0 reads `Connection` otherwise


class ResponseReader(MessageReader):
    """The upstream's side of a connection."""

    __slots__ = ("_is_head_request", "_upgrade")

    too_large = errors.UPSTREAM_HEAD_TOO_LARGE
    invalid = errors.UPSTREAM_INVALID

    def __init__(self, kinds: FieldKinds, limits: HeadLimits) -> None:
        super().__init__(kinds, limits)
        self._is_head_request = False
        self._upgrade: list[bytes] | tuple[()] = ()

    def expect(self, method: bytes, upgrade: list[bytes] | tuple[()] = ()) -> None:
        """A request with this method was sent, offering to turn to one of these protocols; the next head answers it."""
        self._is_head_request = method == b"HEAD"
        self._upgrade = upgrade

    def _check_start_line(self, line: bytes) -> None:
        if not _STATUS_LINE.fullmatch(line):
            self._refuse(f"not a status line: {line[:60]!r}")

    def _read_head(self, lines: list[bytes]) -> ResponseHead:
        start = lines[0]
        status = _STATUSES.get(start)
        is_1_0 = False
        if status is None:
            match = _STATUS_LINE.fullmatch(start)
            if match is None:
                self._refuse(f"not a status line: {start[:60]!r}")
            status = int(match[2])
            if match[1] == b"0":
                is_1_0 = True
                lines[0] = b"HTTP/1.1" + start[8:]  # a proxy speaks its own version (RFC 9110 section 2.5)
            elif len(_STATUSES) < 256:
                _STATUSES[start] = status
        kinds = self._kinds
        known = kinds.lines if not is_1_0 else _NOTHING_KNOWN
        removed: list[bytes] | None = None
        connection: list[bytes] | None = None
        length: bytes | None = None
        coding: bytes | None = None
        upgrade = b""
        for line in lines[1:]:
            kind = known.get(line)
            if kind == 0:
                continue
            if kind == fields.HOP_BY_HOP:
                removed = [*removed, line] if removed else [line]
                continue
            name, colon, value = line.partition(b":")
            if kind is None:
                kind = kinds[name]
                if not colon:
                    self._refuse(f"a line without a colon: {name[:40]!r}")
                if kind == 0:
                    continue
                if kind == fields.REPEATING:
                    kinds.remember(line, fields.ORDINARY)
                    continue
                if kind <= fields.TRANSFER_ENCODING:
                    kinds.remember(line, kind)
            if kind == fields.CONTENT_LENGTH:
                if length is not None:
                    self._refuse("more than one Content-Length")
                length = value.strip(b" \t")
            elif kind == fields.TRANSFER_ENCODING:
                if coding is not None:
                    self._refuse("more than one Transfer-Encoding")
                coding = value.strip(b" \t")
            else:
                removed = [*removed, line] if removed else [line]
                if kind == fields.CONNECTION:
                    value = value.strip(b" \t")
                    if value == b"keep-alive" and not is_1_0:
                        kinds.remember(line, fields.HOP_BY_HOP)  # in HTTP/1.1 it says nothing
                        continue
                    connection = [*connection, value] if connection else [value]
                elif kind == fields.UPGRADE:
                    upgrade = value.strip(b" \t")
        keep_alive = not is_1_0
        if removed is not None:
            for line in removed:
                lines.remove(line)
            if connection is not None:
                keep_alive = self._read_connection(lines, connection, keep_alive)
        body = self._body(status, lines, length, coding)
        if status == 101:
            return self._tunnel_head(lines, connection, upgrade)
        if status < 200:
            self.start_next()
            return ResponseHead(status, lines, NO_BODY, keep_alive)
        self._frame_body(body)
        return ResponseHead(status, lines, body, keep_alive and body != UNTIL_CLOSE)

    def _tunnel_head(self, lines: list[bytes], connection: list[bytes] | None, upgrade: bytes) -> ResponseHead:
        """Only what was offered can be agreed to. Spec: RFC 9110 sections 7.8 and 15.2.2."""
        if upgrade.lower() not in self._upgrade or connection is None:
            self._refuse(f"101 turns to {upgrade[:40]!r}, which was not offered")
        lines += (b"Connection: Upgrade", b"Upgrade: " + upgrade)
        self.start_tunnel()
        return ResponseHead(101, lines, UNTIL_CLOSE, False)

    def _body(self, status: int, lines: list[bytes], length: bytes | None, coding: bytes | None) -> int:
        """How the body is framed. Spec: RFC 9112 section 6.3; both lengths, or two, are refused."""
        if length is not None and coding is not None:
            self._refuse("both Content-Length and Transfer-Encoding")
        size = self._length(length) if length is not None else UNTIL_CLOSE
        if coding is not None and coding.lower() != b"chunked":
            self._refuse(f"the transfer coding {coding[:40]!r}")
        if status < 200 or status == 204:
            # RFC 9110 section 8.6: neither field belongs here; a peer that believes one would wait for a body.
            self._remove_framing(lines)
            return NO_BODY
        if self._is_head_request or status == 304:
            return NO_BODY
        return CHUNKED if coding is not None else size

    def _remove_framing(self, lines: list[bytes]) -> None:
        framing = (fields.CONTENT_LENGTH, fields.TRANSFER_ENCODING)
        lines[1:] = [line for line in lines[1:] if self._kinds[line.partition(b":")[0]] not in framing]

    def _read_connection(self, lines: list[bytes], values: list[bytes], keep_alive: bool) -> bool:
        options = connection_options(values)
        named = options - {b"", b"close", b"keep-alive", b"upgrade", b"content-length", b"transfer-encoding"}
        if named:
            lines[1:] = [line for line in lines[1:] if line.partition(b":")[0].lower() not in named]
        if b"close" in options:
            return False
        return keep_alive or b"keep-alive" in options
