"""Reads requests. Spec: RFC 9112 sections 3, 5, 6, with the stricter reading wherever two were possible.

One pass over the fields does everything: framing, Host, hop-by-hop fields out, routing fields collected.
"""

from __future__ import annotations

import re
from typing import Final, NoReturn

from proxy import errors
from proxy.codec import fields
from proxy.codec.events import CHUNKED, RequestHead
from proxy.codec.fields import FieldKinds
from proxy.codec.h1.reader import HeadLimits, MessageReader, connection_options
from proxy.errors import ProtocolError

# request-line = method SP request-target SP HTTP-version. The target has no blank, no control, no 8-bit character and
# no fragment (RFC 9112 section 3.2: a fragment is never sent).
_REQUEST_LINE: Final = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21\x22\x24-\x7e]+) HTTP/([0-9])\.([0-9])",
)
# RFC 9110 section 7.2, RFC 3986 section 3.2: host [ ":" port ], no userinfo. Also what Windows names and Compose
# services use: an underscore.
HOST: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+(?:%25[0-9A-Za-z._~-]+)?\]|[0-9A-Za-z._~!$&'()*+=%-]+)(?::[0-9]{1,5})?")
_ABSOLUTE: Final = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?]*)(?:[/?].*)?")

# RFC 9110 section 7.8: protocol-name [ "/" protocol-version ]
_PROTOCOL: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:/[!#$%&'*+\-.^_`|~0-9A-Za-z]+)?")
HTTP_PROTOCOL: Final = re.compile(rb"(?:|h2c?|(?:http|tls)(?:/.*)?)", re.IGNORECASE)

_METHODS: Final = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH"))
_NOTHING_KNOWN: Final[dict[bytes, int]] = {}  # HTTP/1.0 reads `Connection` otherwise

# SPEC 4: never removed because `Connection` names them.
_KEPT: Final = frozenset({b"baggage", b"tracestate", b"host", b"content-length", b"pointsman-hop"})


# What starts an HTTP/2 connection, as far as HTTP/1.1 takes it for a head (RFC 9113 section 3.4).
PREFACE_HEAD: Final = b"PRI * HTTP/2.0\r\n\r\n"
_PREFACE_LINE: Final = PREFACE_HEAD[:-4]


class Http2Preface(ProtocolError):
    """The peer speaks HTTP/2. `PREFACE_HEAD` was taken, what follows it was not."""

    def __init__(self) -> None:
        super().__init__(errors.VERSION_NOT_SUPPORTED, "HTTP/2.0")


class RequestReader(MessageReader):
    """The downstream's side of a connection."""

    __slots__ = ("_good_host",)

    too_large = errors.HEAD_TOO_LARGE
    invalid = errors.BAD_REQUEST

    def __init__(self, kinds: FieldKinds, limits: HeadLimits) -> None:
        super().__init__(kinds, limits)
        self._good_host = b"\0"  # none yet; an empty one is not good

    def _skip_empty_lines(self) -> int:
        # RFC 9112 section 2.2: an empty line before a request line is ignored.
        buf, pos = self.buf, self._pos
        while buf.startswith(b"\r\n", pos):
            pos += 2
        self._pos = pos
        if pos == len(buf):
            self.take_rest()
        return self._pos

    def _refuse_head_size(self) -> NoReturn:
        if b"\n" not in self.buf[self._pos : self._pos + min(8192, self._limits.max_bytes)]:
            raise ProtocolError(errors.URI_TOO_LONG, "a request line over the limit")
        super()._refuse_head_size()

    def _check_start_line(self, line: bytes) -> None:
        if line != _PREFACE_LINE:
            self._read_request_line(line)

    def _read_request_line(self, line: bytes) -> RequestHead:
        match = _REQUEST_LINE.fullmatch(line)
        if match is None:
            self._refuse(f"not a request line: {line[:60]!r}")
        method, target, major, minor = match.groups()
        if major != b"1" or minor > b"1":
            raise ProtocolError(errors.VERSION_NOT_SUPPORTED, f"HTTP/{major.decode()}.{minor.decode()}")
        if method == b"CONNECT":
            raise ProtocolError(errors.METHOD_NOT_ALLOWED, "CONNECT is not served")
        return RequestHead(method, target, [], minor == b"0")

    def _read_head(self, lines: list[bytes]) -> RequestHead:
        start = lines[0]
        method, _, rest = start.partition(b" ")
        target, _, version = rest.partition(b" ")
        # The plainest request line, cheaper than by the regular expression: origin-form, ASCII, no fragment, no tab;
        # blanks and all other controls are ruled out by `version` and by the caller.
        if (
            version == b"HTTP/1.1"
            and method in _METHODS
            and target[:1] == b"/"
            and target.isascii()
            and 35 not in target
            and 9 not in target
        ):
            head = RequestHead(method, target, lines, False)
        else:
            if start == _PREFACE_LINE and len(lines) == 1:
                raise Http2Preface
            head = self._read_request_line(start)
            head.lines = lines
            if head.http10:
                lines[0] = b"%b %b HTTP/1.1" % (head.method, head.target)  # our own version (RFC 9110 section 2.5)
        kinds = self._kinds
        known = kinds.lines if not head.http10 else _NOTHING_KNOWN
        removed: list[bytes] | None = None
        connection: list[bytes] | None = None
        upgrade: bytes | None = None
        hosts = 0
        length: bytes | None = None
        coding: bytes | None = None
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
            value = value.strip(b" \t")
            if kind == fields.HOST:
                hosts += 1
                head.host = value
            elif kind == fields.BAGGAGE:
                if head.baggage:
                    head.baggage.append(value)
                else:
                    head.baggage = [value]
            elif kind == fields.TRACESTATE:
                if head.tracestate:
                    head.tracestate.append(value)
                else:
                    head.tracestate = [value]
            elif kind == fields.CONNECTION:
                removed = [*removed, line] if removed else [line]
                if value == b"keep-alive" and not head.http10:
                    kinds.remember(line, fields.HOP_BY_HOP)  # in HTTP/1.1 it says nothing
                    continue
                connection = [*connection, value] if connection else [value]
            elif kind == fields.CONTENT_LENGTH:
                if length is not None:
                    self._refuse("more than one Content-Length")
                length = value
            elif kind == fields.TRANSFER_ENCODING:
                if coding is not None:
                    self._refuse("more than one Transfer-Encoding")
                coding = value
            elif kind == fields.HOP_MARK:
                head.hops = [*head.hops, value]
            elif kind == fields.UPGRADE:
                removed = [*removed, line] if removed else [line]
                upgrade = value if upgrade is None else b"%b,%b" % (upgrade, value)
            elif kind == fields.KEY:
                head.key_fields = [*head.key_fields, (name.lower(), value)]
            else:  # hop-by-hop
                if kind == fields.TE and b"trailers" in value.lower():
                    head.takes_trailers = True
                removed = [*removed, line] if removed else [line]

        if hosts != 1 or head.host != self._good_host:
            self._check_host(head, hosts)
        if head.target[0] != 47:  # "/"; a target is never empty
            self._check_target(head)
        if length is not None:
            if coding is not None:
                self._refuse("both Content-Length and Transfer-Encoding")
            head.body = self._length(length)
        elif coding is not None:
            self._check_coding(head, coding)
            head.body = CHUNKED
        if removed is not None:
            for line in removed:
                lines.remove(line)
            if connection is not None:
                self._read_connection(head, connection, upgrade)
        self._frame_body(head.body)
        return head

    def _check_host(self, head: RequestHead, hosts: int) -> None:
        """Exactly one, and a plain authority. Spec: RFC 9112 section 3.2. HTTP/1.0 knows no Host."""
        if hosts == 0 and head.http10:
            return
        if hosts != 1:
            self._refuse("no Host" if hosts == 0 else "more than one Host")
        if not HOST.fullmatch(head.host):
            self._refuse(f"a malformed Host: {head.host[:60]!r}")
        self._good_host = head.host  # the same connection mostly names the same host again

    def _check_target(self, head: RequestHead) -> None:
        """Absolute-form must agree with Host, `*` is for OPTIONS alone. Spec: RFC 9112 sections 3.2.2 and 3.2.4."""
        target = head.target
        if target == b"*":
            if head.method != b"OPTIONS":
                self._refuse("the target * without OPTIONS")
            return
        match = _ABSOLUTE.fullmatch(target)
        if match is None:
            self._refuse(f"a malformed target: {target[:60]!r}")
        if match[1].lower() != head.host.lower() or not head.host:
            self._refuse("target and Host name different authorities")

    def _check_coding(self, head: RequestHead, coding: bytes) -> None:
        """Only `chunked`, once, and not in HTTP/1.0. Spec: RFC 9112 sections 6.1 and 6.3."""
        if head.http10:
            self._refuse("Transfer-Encoding in an HTTP/1.0 request")
        if coding.lower() == b"chunked":
            return
        codings = [part.strip(b" \t").lower() for part in coding.split(b",")]
        if codings[-1] == b"chunked" and codings.count(b"chunked") == 1 and all(map(fields.TOKEN.fullmatch, codings)):
            raise ProtocolError(errors.CODING_NOT_IMPLEMENTED, f"the transfer coding {codings[0][:40]!r}")
        self._refuse(f"a Transfer-Encoding that does not end the body: {coding[:40]!r}")

    def _read_connection(self, head: RequestHead, values: list[bytes], upgrade: bytes | None) -> None:
        """`close`, `keep-alive` and `upgrade`; the fields it names are removed, save those that SPEC 4 keeps."""
        options = connection_options(values)
        if b"close" in options:
            head.keep_alive = False
        elif b"keep-alive" in options:
            head.keep_alive = True
        named = options - {b"", b"close", b"keep-alive", b"upgrade", b"te", b"transfer-encoding", b"http2-settings"}
        named -= _KEPT
        if named:
            kinds = self._kinds
            start, *lines = head.lines
            head.lines = [start]
            for line in lines:
                name = line.partition(b":")[0]
                if name.lower() not in named or kinds[name] == fields.KEY:
                    head.lines.append(line)
        if upgrade is not None and b"upgrade" in options and not head.http10:
            self._read_upgrade(head, upgrade)

    def _read_upgrade(self, head: RequestHead, value: bytes) -> None:
        """Offered on, save HTTP itself and TLS: all later requests would share this one's decision.

        Spec: RFC 9110 section 7.8; HTTP/1.0 has no Upgrade.
        """
        wanted = [protocol.strip(b" \t") for protocol in value.split(b",")]
        wanted = [protocol for protocol in wanted if not HTTP_PROTOCOL.fullmatch(protocol)]
        if not all(map(_PROTOCOL.fullmatch, wanted)):
            self._refuse(f"a malformed Upgrade: {value[:60]!r}")
        if wanted:
            head.upgrade = [protocol.lower() for protocol in wanted]
            head.lines += (b"Connection: Upgrade", b"Upgrade: " + b", ".join(wanted))
