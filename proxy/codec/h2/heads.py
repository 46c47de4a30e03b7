"""What a list of HTTP/2 fields means as a head or as trailers, and whether it may be one.

Spec: RFC 9113 sections 8.2.2 (connection-specific fields), 8.3 (pseudo-headers), 8.1.1 (malformed messages), 8.5 and
RFC 8441 (CONNECT). Names and values were checked one by one already (`hpack`). As in HTTP/1.1 one pass does everything.
What is taken out (an upstream's own decision) or never passes (framing and routing in trailers) is the same too.
"""

from __future__ import annotations

import re
from typing import Final

from proxy.codec import fields
from proxy.codec.events import CHUNKED, NO_BODY, UNTIL_END, End, RequestHead, ResponseHead
from proxy.codec.fields import FieldKinds, FieldLine, content_length, is_dropped_trailer
from proxy.codec.h1.request import HOST, HTTP_PROTOCOL
from proxy.codec.h2.hpack import field_line

# RFC 3986 section 3.1
_SCHEME: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*")
# Section 8.2.2
_OF_A_CONNECTION: Final = (fields.CONNECTION, fields.HOP_BY_HOP, fields.TRANSFER_ENCODING, fields.UPGRADE)
_GRPC: Final = b"application/grpc"


class Malformed(Exception):
    """Not a message: the stream ends with PROTOCOL_ERROR."""


class RequestHeads:
    """Reads the requests of one connection."""

    __slots__ = ("_good_authority", "_good_path", "_good_scheme")

    def __init__(self) -> None:
        self._good_authority: FieldLine | None = None  # lines that are remembered are the same objects
        self._good_path: FieldLine | None = None
        self._good_scheme: FieldLine | None = None

    def read(self, lines: list[FieldLine], *, is_end: bool) -> RequestHead:
        """Raises: Malformed. A CONNECT without a protocol is a request (`upgrade` is empty then)."""
        method = scheme = path = authority = protocol = host = length = None
        head = RequestHead(b"", b"", _NO_LINES, False, lines)
        pseudos = 0
        for line in lines:
            kind = line.kind
            if kind == fields.ORDINARY:
                continue
            if kind >= fields.PSEUDO_METHOD:
                if kind <= fields.PSEUDO_STATUS:
                    # Each once, before all other fields: so the last of n stands at place n.
                    pseudos += 1
                    if pseudos > len(lines) or lines[pseudos - 1].name[:1] != b":":
                        raise Malformed("a pseudo-header behind a field")
                    if kind == fields.PSEUDO_METHOD and method is None:
                        method = line
                    elif kind == fields.PSEUDO_PATH and path is None:
                        path = line
                    elif kind == fields.PSEUDO_SCHEME and scheme is None:
                        scheme = line
                    elif kind == fields.PSEUDO_AUTHORITY and authority is None:
                        authority = line
                    elif kind == fields.PSEUDO_PROTOCOL and protocol is None:
                        protocol = line
                    else:
                        raise Malformed(f"{line.name.decode()} twice, or in a request")
                elif kind == fields.CONTENT_TYPE:
                    head.is_grpc = _is_grpc(line)
            elif kind == fields.BAGGAGE:
                if head.baggage:
                    head.baggage.append(line.value)
                else:
                    head.baggage = [line.value]
            elif kind == fields.TRACESTATE:
                if head.tracestate:
                    head.tracestate.append(line.value)
                else:
                    head.tracestate = [line.value]
            elif kind == fields.TE:
                if line.value.lower() != b"trailers":
                    raise Malformed("te is not trailers")
                head.takes_trailers = True
            elif kind == fields.CONTENT_LENGTH:
                if length is not None:
                    raise Malformed("more than one content-length")
                length = line
            elif kind == fields.HOP_MARK:
                head.hops = [*head.hops, line.value]
            elif kind == fields.KEY:
                head.key_fields = [*head.key_fields, (line.name, line.value)]
            elif kind == fields.HOST:
                if host is not None:
                    raise Malformed("more than one host")
                host = line
            elif kind != fields.REPEATING and kind != fields.DECISION:
                raise Malformed(f"the connection-specific field {line.name[:40].decode()}")
        if method is None:
            raise Malformed("no :method")
        head.method = method.value
        if authority is None or authority is not self._good_authority or host is not None:
            self._check_authority(authority, host, is_grpc=head.is_grpc)
        head.host = authority.value if authority is not None else host.value if host is not None else b""
        if host is not None:
            self._leave_out_host(head, host, has_authority=authority is not None)
        if head.method == b"CONNECT" and protocol is None:
            if scheme is not None or path is not None:
                raise Malformed("CONNECT with a scheme or a path")
            return head
        if scheme is None or path is None:
            raise Malformed("no :scheme or no :path")
        if scheme is not self._good_scheme:
            if not _SCHEME.fullmatch(scheme.value):
                raise Malformed(f"a malformed :scheme: {scheme.value[:40]!r}")
            self._good_scheme = scheme
        head.target = path.value
        if path is not self._good_path:
            self._check_path(head)
            if head.target != b"*":  # which is good for one method alone
                self._good_path = path
        if protocol is not None:
            if head.method != b"CONNECT" or not fields.TOKEN.fullmatch(protocol.value):
                raise Malformed(":protocol without CONNECT, or no token")
            if is_end:
                raise Malformed("an extended CONNECT that ends with its head")
            if HTTP_PROTOCOL.fullmatch(protocol.value):
                raise Malformed("a tunnel of HTTP, whose requests would all share this one's decision")
            head.upgrade = [protocol.value.lower()]
            if length is not None:  # of what? A tunnel's bytes are no content, and some servers count them
                head.fields = [line for line in head.fields if line is not length]
        elif not fields.TOKEN.fullmatch(head.method):
            raise Malformed("a method that is no token")
        else:
            head.body = _body(length, is_end=is_end)
        return head

    def _check_authority(self, authority: FieldLine | None, host: FieldLine | None, *, is_grpc: bool) -> None:
        """Section 8.3.1: no userinfo; Host, where it is there too, says the same.

        A gRPC client with several addresses (the target `ipv4:a:1,b:2`) names them all.
        """
        named = authority if authority is not None else host
        if named is None:
            raise Malformed("no :authority and no host")
        is_plain = HOST.fullmatch(named.value) is not None
        if not is_plain and not (is_grpc and all(map(HOST.fullmatch, named.value.split(b",")))):
            raise Malformed(f"a malformed authority: {named.value[:60]!r}")
        if authority is not None and host is not None and authority.value.lower() != host.value.lower():
            raise Malformed(":authority and host differ")
        if is_plain:  # else it is good in calls alone
            self._good_authority = authority

    def _leave_out_host(self, head: RequestHead, host: FieldLine, *, has_authority: bool) -> None:
        """Section 8.3.1: who forwards sends `:authority`.

        There are servers that end the connection, which others share, where a Host beside it is spelled otherwise.
        """
        head.fields = [line for line in head.fields if line is not host]
        if not has_authority:
            head.fields.insert(0, field_line(b":authority", host.value))

    def _check_path(self, head: RequestHead) -> None:
        """Section 8.3.1, RFC 9112 section 3.2: as in HTTP/1.1 there are no blanks, 8-bit characters and fragments."""
        path = head.target
        if path == b"*" and head.method == b"OPTIONS":
            return
        if path[:1] != b"/" or not path.isascii() or 32 in path or 35 in path or 9 in path:
            raise Malformed(f"a malformed :path: {path[:60]!r}")


def is_grpc(lines: list[FieldLine]) -> bool:
    """Whether these fields are a gRPC call's, as far as they go."""
    return any(line.kind == fields.CONTENT_TYPE and _is_grpc(line) for line in lines)


def _is_grpc(line: FieldLine) -> bool:
    """Of a content-type: application/grpc, or with a `+` and what the messages are."""
    return line.value[:16] == _GRPC and line.value[16:17] in (b"", b"+", b";")


def response_head(lines: list[FieldLine], *, is_head_request: bool, is_end: bool) -> ResponseHead:
    """A response, also an interim one (below 200). Raises: Malformed."""
    status = -1
    length: FieldLine | None = None
    grpc_status = -1
    has_decision = False
    for line in lines:
        kind = line.kind
        if kind == fields.ORDINARY or kind == fields.CONTENT_TYPE:
            continue
        if kind == fields.PSEUDO_STATUS:
            # The only pseudo-header, so it is the first field.
            if status >= 0 or line is not lines[0] or len(line.value) != 3 or not line.value.isdigit():
                raise Malformed("a malformed :status")
            status = int(line.value)
        elif kind == fields.GRPC_STATUS:
            grpc_status = _grpc_status(line)
        elif kind == fields.CONTENT_LENGTH:
            if length is not None:
                raise Malformed("more than one content-length")
            length = line
        elif kind == fields.DECISION:
            has_decision = True
        elif kind != fields.REPEATING and kind != fields.TE and kind != fields.HOST:
            raise Malformed(f"the connection-specific field {line.name[:40].decode()}")
    if status < 100 or status == 101:
        raise Malformed("no :status that HTTP/2 has")
    if status < 200 and is_end:
        raise Malformed("an interim response at the end of the stream")
    if has_decision:
        lines = [line for line in lines if line.kind != fields.DECISION]
    if status < 200 or (is_end and (is_head_request or status == 304)):
        body = NO_BODY
    elif status == 204 or is_head_request or status == 304:
        body = NO_BODY if is_end else UNTIL_END
    else:
        body = _body(length, is_end=is_end)
    if length is not None and body <= NO_BODY:
        _length(length)  # it frames nothing here, but goes on
    head = ResponseHead(status, _NO_LINES, body, True, lines)
    if is_end:
        head.grpc_status = grpc_status
    return head


def end_of(lines: list[FieldLine], kinds: FieldKinds) -> End:
    """The end that trailers are; those that could change framing, target or routing are dropped. Raises: Malformed."""
    grpc_status = -1
    kept: list[FieldLine] = lines
    for line in lines:
        kind = line.kind
        if kind == fields.GRPC_STATUS:
            grpc_status = _grpc_status(line)
        elif line.name[:1] == b":":
            raise Malformed("a pseudo-header in trailers")
        elif kind in _OF_A_CONNECTION:
            raise Malformed(f"the connection-specific field {line.name[:40].decode()}")
        elif is_dropped_trailer(line.name, kinds):
            kept = [other for other in kept if other is not line]
    end = End(None, kept)
    end.grpc_status = grpc_status
    return end


def _grpc_status(line: FieldLine) -> int:
    value = line.value
    return int(value) if value.isdigit() and len(value) <= 3 else -1


def _body(length: FieldLine | None, *, is_end: bool) -> int:
    """How the body is framed. Spec: section 8.1.1."""
    if length is None:
        return NO_BODY if is_end else CHUNKED
    size = _length(length)
    if is_end:
        if size:
            raise Malformed("a content-length, and no content")
        return NO_BODY
    return size or UNTIL_END


def _length(line: FieldLine) -> int:
    try:
        return content_length(line.value)
    except ValueError as error:
        raise Malformed(str(error)) from None


_NO_LINES: Final[list[bytes]] = []
