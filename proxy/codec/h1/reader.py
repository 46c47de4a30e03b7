"""Reads one direction of an HTTP/1.1 connection: heads, bodies, trailers, one message after another.

The reader is pulled: `receive` stores bytes, `next_event` takes the next event out of them or says None, "more bytes
are needed". After the end of a message it stops until `start_next`, so that bytes behind a message (a pipelined
request, what follows an upgrade or a fault) are never parsed before somebody asks for them. After a fault it stays
refused.

How the bytes are cut into pieces changes nothing, not even which fault is reported where a head has several: the first
line that is faulty by itself counts, then what is wrong with the head as a whole.

Body bytes are handed on as they arrive and never collected; what is buffered is at most one unfinished line or head
(bounded by the limits) plus what a paused caller has not pulled yet.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NoReturn

from proxy.codec.events import CHUNKED, END, UNTIL_CLOSE, End, Event
from proxy.codec.fields import MAX_LENGTH, FieldKinds, content_length, is_dropped_trailer
from proxy.errors import ProtocolError, Reason

# A tab is allowed inside field values (RFC 9110 section 5.5), obs-text too.
CONTROLS: Final = bytes([*range(9), *range(10, 0x20), 0x7F])

# RFC 9112 section 7.1: chunk-size [ chunk-ext ] CRLF. Sixteen digits bound the size; no blanks are taken round the
# size or in extensions (the grammar's "bad whitespace"), since implementations differ on them. Extensions are dropped.
_CHUNK_LINE: Final = re.compile(
    rb"([0-9A-Fa-f]{1,16})"
    rb"(?:;[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
    rb'(?:=(?:[!#$%&\'*+\-.^_`|~0-9A-Za-z]+|"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"))?)*'
)
_CHUNK_LINE_START: Final = re.compile(rb"[0-9A-Fa-f]{1,16}(?:;.*)?", re.DOTALL)
_MAX_CHUNK_LINE: Final = 1024

# States. Plain ints: they are compared once per event.
_HEAD: Final = 0
_LENGTH: Final = 1
_UNTIL_CLOSE: Final = 2
_CHUNK_SIZE: Final = 3
_CHUNK_DATA: Final = 4
_CHUNK_END: Final = 5
_TRAILERS: Final = 6
_DONE: Final = 7
_REFUSED: Final = 8


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """What a head may measure: bytes up to the empty line, and fields. Trailers count alike, by themselves."""

    max_bytes: int = 61440
    max_fields: int = 100


def has_control(text: bytes) -> bool:
    """Whether a control character stands in it, CR and LF included."""
    return len(text.translate(None, CONTROLS)) != len(text)


def connection_options(values: list[bytes]) -> set[bytes]:
    """What `Connection` lines name, in lower case. Spec: RFC 9110 section 7.6.1."""
    return {option.strip(b" \t").lower() for value in values for option in value.split(b",")}


class MessageReader:
    """The part that both directions share. Subclasses read heads."""

    __slots__ = ("_checked", "_kinds", "_left", "_limits", "_pos", "_scanned", "_state", "buf", "eof")

    too_large: Reason
    invalid: Reason

    def __init__(self, kinds: FieldKinds, limits: HeadLimits) -> None:
        self.buf = b""  # what was received; empty as soon as all of it was taken, which ends at `_pos`
        self._pos = 0
        self._state = _HEAD
        self._left = 0
        self._checked = 0  # bytes of an unfinished head or trailer section whose lines were found good
        self._scanned = 0  # and those that are free of controls
        self.eof = False  # the peer will send no more
        self._kinds = kinds
        self._limits = limits

    # --- bytes in ---

    def receive(self, data: bytes) -> None:
        """Stores bytes. Costs nothing while the last ones were taken whole."""
        if self.buf:
            self.buf = self.buf[self._pos :] + data
            self._pos = 0
        else:
            self.buf = data

    @property
    def buffered(self) -> int:
        """Bytes received and not yet taken."""
        return len(self.buf) - self._pos

    @property
    def is_between_messages(self) -> bool:
        """Nothing of a next message has arrived: here an end of the stream is clean."""
        return self._state == _HEAD and not self.buf

    @property
    def is_cut_before_head(self) -> bool:
        """The stream ended and no further head will come."""
        return self.eof and self._state == _HEAD

    @property
    def is_done(self) -> bool:
        """The current message was read to its end."""
        return self._state == _DONE

    def start_next(self) -> None:
        """Reads on behind a message that is done."""
        self._state = _HEAD
        self._checked = self._scanned = 0

    def start_tunnel(self) -> None:
        """What follows the message that is done is not HTTP: bytes as they come, up to the end of the stream."""
        self._state = _UNTIL_CLOSE

    def take_rest(self) -> bytes:
        """The bytes that were not taken; the reader is empty then."""
        rest = self.buf[self._pos :]
        self.buf = b""
        self._pos = 0
        return rest

    # --- events out ---

    def next_event(self) -> Event | None:
        """The next event, or None while it is not complete.

        Raises: ProtocolError, once; afterwards there are no more events.
        """
        state = self._state
        try:
            if state == _HEAD:
                return self._next_head()
            if state == _LENGTH:
                return self._next_of_length()
            if state == _UNTIL_CLOSE:
                return self._next_until_close()
            if state in (_DONE, _REFUSED):
                return None
            event = self._next_chunked()
            if self._pos == len(self.buf):
                self.take_rest()
            return event
        except ProtocolError:
            self._state = _REFUSED
            raise

    def _next_head(self) -> Event | None:
        """One head, whole, or None. Spec: RFC 9112 section 2.1."""
        buf, pos = self.buf, self._pos
        if buf and buf[pos] == 13:
            pos = self._skip_empty_lines()
            buf = self.buf
        end = buf.find(b"\r\n\r\n", pos)
        if end < 0:
            self._check_unfinished(pos, has_start=True)
            return None
        try:
            if end - pos > self._limits.max_bytes:
                self._refuse_head_size()
            block = buf[pos:end]
            if end + 4 == len(buf):
                self.buf = b""
                self._pos = 0
            else:
                self._pos = end + 4
            lines = block.split(b"\r\n")
            fields = len(lines) - 1
            # Each line end is two controls. If there are more, one is a bare CR or LF, a NUL or another control.
            if len(block.translate(None, CONTROLS)) + fields * 2 != len(block):
                self._refuse("a control character, bare CR or bare LF")
            if fields > self._limits.max_fields:
                raise ProtocolError(self.too_large, f"more than {self._limits.max_fields} fields")
            return self._read_head(lines)
        except ProtocolError:
            self._check_lines(buf, pos, end + 2, has_start=True)
            raise

    def _skip_empty_lines(self) -> int:
        return self._pos

    def _read_head(self, lines: list[bytes]) -> Event:
        raise AssertionError("subclasses read heads")

    def _check_start_line(self, line: bytes) -> None:
        raise AssertionError("subclasses read heads")

    def _refuse_head_size(self) -> NoReturn:
        raise ProtocolError(self.too_large, f"a head over {self._limits.max_bytes} bytes")

    def _refuse_trailers_size(self) -> NoReturn:
        raise ProtocolError(self.too_large, f"a trailer section over {self._limits.max_bytes} bytes")

    def _refuse(self, text: str) -> NoReturn:
        raise ProtocolError(self.invalid, text)

    def _length(self, text: bytes) -> int:
        try:
            return content_length(text)
        except ValueError as error:
            self._refuse(str(error))

    def _frame_body(self, body: int) -> None:
        """The state behind a head whose body is framed so (events.NO_BODY, CHUNKED, UNTIL_CLOSE or a length)."""
        if body == 0:
            self._state = _DONE
        elif body > 0:
            self._state = _LENGTH
            self._left = body
        elif body == CHUNKED:
            self._state = _CHUNK_SIZE
        elif body == UNTIL_CLOSE:
            self._state = _UNTIL_CLOSE
        self._checked = self._scanned = 0

    def _check_unfinished(self, pos: int, *, has_start: bool) -> None:
        """Refuses as soon as a fault shows in what has not ended: its peer may be waiting for an answer.

        `has_start`: it is a head, with a start line; else a trailer section.
        """
        self._check_lines(self.buf, pos, len(self.buf), has_start=has_start)
        # Behind the largest one, all but the last byte of the empty line may stand.
        if len(self.buf) - pos > self._limits.max_bytes + 3:
            if has_start:
                self._refuse_head_size()
            self._refuse_trailers_size()

    def _check_lines(self, buf: bytes, pos: int, end: int, *, has_start: bool) -> None:
        """Refuses the first line that is faulty by itself, up to the limit; remembers how far it came."""
        end = min(end, pos + self._limits.max_bytes + 3)
        lines_end = buf.rfind(b"\n", pos + self._checked, end) + 1
        if lines_end:
            for line in buf[pos + self._checked : lines_end].split(b"\n")[:-1]:
                if line[-1:] != b"\r":
                    self._refuse("a bare LF")
                self._check_line(line[:-1], is_start=has_start and self._checked == 0)
                self._checked += len(line) + 1
        rest = buf[pos + max(self._checked, self._scanned) : end].removesuffix(b"\r")
        if has_control(rest):
            self._refuse("a control character, bare CR or bare LF")
        self._scanned = max(self._checked, self._scanned) + len(rest)

    def _check_line(self, line: bytes, *, is_start: bool) -> None:
        if has_control(line):
            self._refuse("a control character, bare CR or bare LF")
        if is_start:
            self._check_start_line(line)
        else:
            self._check_field_line(line)

    def _check_field_line(self, line: bytes) -> int:
        """The kind of a field line; no blank before the colon, no folding (RFC 9112 sections 5.1 and 5.2)."""
        name, colon, _ = line.partition(b":")
        if not colon:
            self._refuse(f"a line without a colon: {name[:40]!r}")
        return self._kinds[name]

    # --- bodies ---

    def _next_of_length(self) -> Event | None:
        if self._left == 0:
            self._state = _DONE
            return END
        buf, end = self.buf, self._pos + self._left
        if not buf:
            if self.eof:
                self._refuse(f"the stream ended {self._left} bytes before the body did")
            return None
        if len(buf) <= end:
            self.buf = b""
            data = buf[self._pos :]
            self._pos = 0
        else:
            data = buf[self._pos : end]
            self._pos = end
        self._left -= len(data)
        return data

    def take_end(self) -> bool:
        """Whether the piece of body just taken was the last of a body with a length; its end is taken with it."""
        if self._left == 0 and self._state == _LENGTH:
            self._state = _DONE
            return True
        return False

    def _next_until_close(self) -> Event | None:
        data = self.take_rest()
        if data:
            return data
        if self.eof:
            self._state = _DONE
            return END
        return None

    def _next_chunked(self) -> Event | None:
        """All whole and part chunks at hand as one piece, then the end. Spec: RFC 9112 section 7.1."""
        pieces: list[bytes] = []
        while True:
            state = self._state
            if state == _CHUNK_DATA:
                data = self.buf[self._pos : self._pos + self._left]
                if not data:
                    break
                pieces.append(data)
                self._pos += len(data)
                self._left -= len(data)
                if self._left:
                    break
                self._state = _CHUNK_END
            elif state == _CHUNK_SIZE:
                size = self._next_chunk_size()
                if size is None:
                    break
                self._left = size
                self._state = _CHUNK_DATA if size else _TRAILERS
            elif state == _CHUNK_END:
                line_end = self.buf[self._pos : self._pos + 2]
                if line_end != b"\r\n":
                    if line_end not in (b"", b"\r"):
                        self._refuse("a chunk longer than its size says")
                    break
                self._pos += 2
                self._state = _CHUNK_SIZE
            elif pieces:
                break  # what was decoded goes first; the trailers are taken at the next call
            else:
                end = self._next_trailers()
                if end is None:
                    break
                self._state = _DONE
                return end
        if pieces:
            return b"".join(pieces) if len(pieces) > 1 else pieces[0]
        if self.eof:
            self._refuse("the stream ended inside a chunked body")
        return None

    def _next_chunk_size(self) -> int | None:
        line = self._next_line(_MAX_CHUNK_LINE)
        if line is None:
            part = self.buf[self._pos :]
            if part and not _CHUNK_LINE_START.fullmatch(part.removesuffix(b"\r")):
                self._refuse("a chunk size that is no hexadecimal number")
            return None
        match = _CHUNK_LINE.fullmatch(line)
        if match is None:
            self._refuse(f"a malformed chunk line: {line[:40]!r}")
        size = int(match[1], 16)
        if size > MAX_LENGTH:
            self._refuse("a chunk size over 2^63-1")
        return size

    def _next_line(self, max_bytes: int) -> bytes | None:
        """The next line without its CRLF, or None; a bare LF or an endless line is refused."""
        end = self.buf.find(b"\n", self._pos, self._pos + max_bytes + 2)
        if end < 0:
            if len(self.buf) - self._pos > max_bytes + 1:  # the CR of the longest line may stand there
                self._refuse(f"a line over {max_bytes} bytes")
            return None
        if end == self._pos or self.buf[end - 1] != 13:
            self._refuse("a bare LF")
        line = self.buf[self._pos : end - 1]
        self._pos = end + 1
        return line

    def _next_trailers(self) -> End | None:
        """The end of a chunked body; trailers that could change framing, target or routing are dropped."""
        buf, pos = self.buf, self._pos
        if buf.startswith(b"\r\n", pos):
            self._pos = pos + 2
            return END
        end = buf.find(b"\r\n\r\n", pos)
        if end < 0:
            self._check_unfinished(pos, has_start=False)
            return None
        self._check_lines(buf, pos, end + 2, has_start=False)
        if end - pos > self._limits.max_bytes:
            self._refuse_trailers_size()
        lines = buf[pos:end].split(b"\r\n")
        self._pos = end + 4
        if len(lines) > self._limits.max_fields:
            raise ProtocolError(self.too_large, f"more than {self._limits.max_fields} trailers")
        kept = [line for line in lines if not is_dropped_trailer(line.partition(b":")[0], self._kinds)]
        return End(kept) if kept else END
