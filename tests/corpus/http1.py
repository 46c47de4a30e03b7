"""Raw HTTP/1.1 messages, each with a sentence on what it proves. Numbers are CHECKLIST's; RFC 9112 and 9110 by section.

The table says what a message *is*, not who accepts it: the unit tests hold our verdicts, the differential tests hold
where others differ. Every bug found in a codec adds an entry. A sample is one message, or an attack that one reader
takes for one message and another for two; `SMUGGLED` is the second one that the attacker wants to get through.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """A message as it stands on the wire. Of a response: `method` asked for it; `eof`: the stream ends behind it."""

    data: bytes
    proves: str
    method: bytes = b"GET"
    eof: bool = False


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: location\r\n\r\n"
HOST = b"Host: location\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST
POST = b"POST / HTTP/1.1\r\n" + HOST
TE = b"Transfer-Encoding: chunked\r\n"
CHUNKED = POST + TE + b"\r\n"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"


def _get(*lines: bytes, start: bytes = b"GET / HTTP/1.1", host: bytes = HOST) -> bytes:
    return start + b"\r\n" + host + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def _line_of(size: int, extra: int = 0) -> bytes:
    """A GET whose head, without the empty line, measures `size` bytes."""
    return GET + b"X: " + b"a" * (size - len(GET) - 3 + extra) + b"\r\n\r\n"


# Nothing is wrong with these.
PLAIN = {
    "get": (GET + b"\r\n", "The plainest request is served."),
    "get with a query": (_get(start=b"GET /a/b?c=d&e=%20;f HTTP/1.1"), "A target travels on as it is, query and all."),
    "head": (_get(start=b"HEAD / HTTP/1.1"), "The response to HEAD has a length but no body."),
    "an unusual method": (_get(start=b"PROPFIND /dav HTTP/1.1"), "Methods are tokens, not a list (9110 9.1)."),
    "a method in lower case": (_get(start=b"get / HTTP/1.1"), "Methods are case-sensitive; `get` is another method."),
    "a method of odd tchars": (_get(start=b"M-S'%*!#$&+.^_`|~1 / HTTP/1.1"), "Every tchar may stand in a method."),
    "a length": (POST + b"Content-Length: 5\r\n\r\nhello", "A body ends after its length."),
    "a length of 0": (POST + b"Content-Length: 0\r\n\r\n", "A body of nothing ends at once."),
    "leading zeros in a length": (POST + b"Content-Length: 005\r\n\r\nhello", "1*DIGIT allows zeros; octal it is not."),
    "a GET with a body": (GET + b"Content-Length: 5\r\n\r\nhello", "Framing never depends on the method of a request."),
    "a length and OWS": (
        POST + b"Content-Length: \t5 \t\r\n\r\nhello",
        "Blanks and tabs round a value are no part of it.",
    ),
    "chunks": (CHUNKED + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "Chunks are one body."),
    "no chunk but the last": (CHUNKED + b"0\r\n\r\n", "An empty chunked body is a body."),
    "chunks of every case": (
        CHUNKED + b"a\r\n0123456789\r\nB\r\n0123456789a\r\n000\r\n\r\n",
        "Hexadecimal in any case.",
    ),
    "leading zeros in a chunk size": (CHUNKED + b"0000005\r\nhello\r\n0\r\n\r\n", "Zeros in front change no size."),
    "a chunk that looks like the end": (CHUNKED + b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", "Data is counted, never searched."),
    "a chunk that looks like a request": (
        CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED),
        "A request inside a chunk is data.",
    ),
    "a body that looks like a request": (
        POST + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
        "A request inside a body with a length is data.",
    ),
    "chunk extensions": (
        CHUNKED + b'5;a=b;c="d \\" e";f\r\nhello\r\n0;last\r\n\r\n',
        "Extensions by the grammar are read over (9112 7.1.1).",
    ),
    "trailers": (CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 9\r\nx-last:1\r\n\r\n", "Trailers end a chunked body."),
    "trailers that frame": (
        CHUNKED + b"5\r\nhello\r\n0\r\nContent-Length: 99\r\nX-Sum: 9\r\nTransfer-Encoding: chunked\r\n\r\n",
        "A7: a trailer frames nothing.",
    ),
    "trailers that route": (
        CHUNKED + b"0\r\nHost: evil\r\nbaggage: sd-routing-key=qwblp48fpmb30\r\nX-Sum: 9\r\n\r\n",
        "A7: a trailer neither routes nor names a host.",
    ),
    "the coding in upper case": (
        POST + b"transfer-encoding: CHUNKED\r\n\r\n" + HELLO,
        "Codings know no case (9112 7).",
    ),
    "the coding with OWS": (
        POST + b"Transfer-Encoding:\t chunked \t\r\n\r\n" + HELLO,
        "OWS round a coding is nothing.",
    ),
    "an empty value": (_get(b"X-Empty:", b"X-Blank: "), "A value may be empty (9110 5.5)."),
    "no blank behind the colon": (_get(b"X:y", b"Z:\tw"), "The blank behind a colon is optional, a tab will do."),
    "8-bit values": (_get(b"X-Name: caf\xc3\xa9\xff"), "obs-text in a value travels on (9110 5.5)."),
    "blanks that only Unicode knows": (_get(b"X: \x85a\xa0"), "A9: \\x85 and \\xa0 are part of a value, not blanks."),
    "a tab inside a value": (_get(b"X: a\tb"), "HTAB is the one control that a value may hold."),
    "duplicates": (_get(b"X: 1", b"x: 2", b"X: 1"), "Duplicates stay, in order and case."),
    "odd field names": (_get(b"!#$%&'*+-.^_`|~0: x", b"under_score: y"), "Every tchar may stand in a name."),
    "100 fields": (GET + b"X: a\r\n" * 99 + b"\r\n", "A15: up to a hundred fields are served."),
    "connection names a field": (_get(b"Connection: x-gone", b"X-Gone: 1", b"X: 2"), "A18: what is named is removed."),
    "connection names host": (_get(b"Connection: host, baggage", b"baggage: a=b"), "A18: these are never removed."),
    "keep-alive": (_get(b"Connection: Keep-Alive", b"Keep-Alive: timeout=5"), "Hop-by-hop fields stay on their hop."),
    "close": (_get(b"Connection: close"), "The last request of a connection is answered, then it closes."),
    "te: trailers": (_get(b"TE: trailers", b"Connection: TE"), "TE is for one hop."),
    "an upgrade to h2c": (
        _get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__"),
        "Nothing upgrades to HTTP/2 through a proxy: later streams would share one decision.",
    ),
    "an empty line first": (b"\r\n" + GET + b"\r\n", "An empty line before a request line is ignored (9112 2.2)."),
    "two empty lines first": (b"\r\n\r\n" + GET + b"\r\n", "So are several."),
    "an underscore in Host": (_get(host=b"Host: my_service:80\r\n"), "Compose names services so."),
    "an IPv6 Host": (_get(host=b"Host: [::1]:8080\r\n"), "An IP literal stands in brackets (3986 3.2.2)."),
    "Host with OWS": (
        _get(host=b"HOST:\tlocation \r\n"),
        "Host is a field like others: name in any case, OWS round it.",
    ),
    "Host last": (b"GET / HTTP/1.1\r\nX: y\r\n" + HOST + b"\r\n", "Host may stand anywhere."),
    "absolute-form": (
        _get(start=b"GET http://location/x?y HTTP/1.1"),
        "A server must accept absolute-form (9112 3.2.2).",
    ),
    "absolute-form without a path": (_get(start=b"GET http://location HTTP/1.1"), "An empty path means `/`."),
    "OPTIONS *": (_get(start=b"OPTIONS * HTTP/1.1"), "Asterisk-form belongs to OPTIONS (9112 3.2.4)."),
    "a target of odd characters": (
        _get(start=b"GET /a\"<>[]\\^`{|}' HTTP/1.1"),
        "Visible ASCII in a target is not ours to judge.",
    ),
    "a double slash": (_get(start=b"GET //evil/x HTTP/1.1"), "`//` starts a path here, not an authority."),
    "dots and escapes": (_get(start=b"GET /a/../b/%2e%2e/%00 HTTP/1.1"), "Paths are not normalised on the way."),
    "HTTP/1.0 with a Host": (_get(start=b"GET / HTTP/1.0"), "A12: HTTP/1.0 is served, or refused as such."),
    "HTTP/1.0 without a Host": (b"GET / HTTP/1.0\r\n\r\n", "A12: HTTP/1.0 knows no Host."),
    "HTTP/1.0 with a body": (
        _get(b"Content-Length: 5", start=b"POST / HTTP/1.0") + b"hello",
        "Nor is its body any different.",
    ),
    "the largest head": (_line_of(61440), "A15: 61440 bytes and no more, however they arrive."),
    "a chunk line of 1024 bytes": (
        CHUNKED + b"5;" + b"a" * 1022 + b"\r\nhello\r\n0\r\n\r\n",
        "The longest chunk line is as long in pieces as it is whole.",
    ),
    "the largest trailers": (
        CHUNKED + b"0\r\nX: " + b"a" * (61440 - 3) + b"\r\n\r\n",
        "A15: trailers up to the limit, also where the empty line comes in pieces; once refused then.",
    ),
    "baggage and tracestate": (
        _get(
            b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", b"baggage: a=b", b"tracestate: c=d"
        ),
        "What routes travels on as it came.",
    ),
}

# Two readers, two framings: if both stood, one of them would see a second request.
_SMUGGLING = {
    "CL.TE": (
        POST + b"Content-Length: 6\r\n" + TE + b"\r\n0\r\n\r\nX",
        "A1: who believes the length leaves nothing, who believes the coding leaves an X for the next request.",
    ),
    "CL.TE with a request": (
        POST + b"Content-Length: %d\r\n" % (5 + len(SMUGGLED)) + TE + b"\r\n0\r\n\r\n" + SMUGGLED,
        "A2: the request stands inside the length and behind the last chunk.",
    ),
    "TE.CL": (
        POST + TE + b"Content-Length: 4\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED),
        "A2: the request stands inside a chunk and behind the length.",
    ),
    "TE and a length of 0": (
        POST + TE + b"Content-Length: 0\r\n\r\n" + HELLO,
        "A1: also where the length says nothing.",
    ),
    "TE and a bad length": (POST + TE + b"Content-Length: x\r\n\r\n" + HELLO, "A1: also where the length is none."),
    "CL.CL": (
        POST + b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
        "A3: two lengths; the first hides nothing, the second hides a request.",
    ),
    "CL.CL in other cases": (
        POST + b"content-length: 0\r\nCONTENT-LENGTH: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
        "A3: names know no case.",
    ),
    "CL.CL alike": (
        POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "A3: twice the same is still twice.",
    ),
    "TE.TE": (POST + TE + TE + b"\r\n0\r\n\r\n" + SMUGGLED, "A2: the coding twice."),
    "TE.TE, the second unknown": (
        POST + TE + b"Transfer-Encoding: x\r\n\r\n0\r\n\r\n" + SMUGGLED,
        "A2: the last coding is not chunked, so the body has no end.",
    ),
    "TE.TE, the first unknown": (
        POST + b"Transfer-Encoding: x\r\n" + TE + b"\r\n0\r\n\r\n" + SMUGGLED,
        "A2: nobody knows what x made of it.",
    ),
    "Connection hides a length": (
        POST + b"Connection: content-length\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
        "A18: a proxy that removes the length turns a body into a request.",
    ),
    "Connection hides the coding": (
        POST + b"Connection: transfer-encoding\r\n" + TE + b"\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED),
        "A18: likewise the coding.",
    ),
    "a length behind a bare CR": (
        POST + b"X: a\rContent-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
        "A9: who takes a bare CR for a line end sees a length.",
    ),
    "a length behind a bare LF": (
        POST + b"X: a\nContent-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
        "A9: likewise a bare LF.",
    ),
    "a length behind a NUL": (POST + b"X: a\x00Content-Length: 5\r\n\r\nhello", "A9: a C string ends here."),
    "a folded coding": (
        POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        "A8: who unfolds sees a coding.",
    ),
    "a coding folded into another field": (
        POST + b"X: a\r\n Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + HELLO,
        "A8: who trims lines sees a coding, who unfolds sees X.",
    ),
    "an underscore for a dash": (POST + b"Content_Length: 5\r\n\r\n", "A name that CGI takes for another is not it."),
    "a coding with a prefix": (
        POST + b"X-Transfer-Encoding: chunked\r\n\r\n",
        "A name that ends like another is not it.",
    ),
    "a body without framing": (POST + b"\r\n" + b"hello", "A request without framing has no body (9112 6.3)."),
}

_LENGTHS = {
    f"Content-Length {value!r}": (POST + b"Content-Length: " + value + b"\r\n\r\n0000000000", f"A3: {why}.")
    for value, why in (
        (b"+5", "Python's int() takes a sign"),
        (b"-1", "a negative length is none"),
        (b"5,5", "a list is none, not even of equals"),
        (b"5, 6", "still less of different ones"),
        (b"0x5", "hexadecimal is for chunks"),
        (b"1_0", "Python's int() takes an underscore"),
        (b"5 5", "blanks inside are no part of a number"),
        (b"5;", "parameters do not belong here"),
        (b"5.0", "nor fractions"),
        (b"", "an empty length is none"),
        (b"\xb2", "a superscript is a digit to str.isdigit"),
        (b"\x0b5", "a vertical tab is a blank to bytes.strip"),
        (b"9223372036854775808", "2^63 overflows a signed 64-bit length"),
        (b"18446744073709551617", "2^64+1 wraps to 1"),
        (b"99999999999999999999999", "so does anything longer"),
        (b"five", "a word is no number"),
    )
}

_CHUNKS = {
    f"chunk size {size[:30]!r}": (
        CHUNKED + size + b"\r\nhello\r\n0\r\n\r\n",
        f"{'A5' if b';' in size else 'A4'}: {why}.",
    )
    for size, why in (
        (b"0x5", "a prefix is no digit"),
        (b"+5", "a sign is no digit"),
        (b"-5", "a negative size is none"),
        (b"1_0", "Python's int() takes an underscore"),
        (b"", "an empty size is none"),
        (b" 5", "a blank in front is none"),
        (b"5 ", "implementations differ on a blank behind"),
        (b"5\t", "and on a tab"),
        (b"5 ;a", "and before an extension"),
        (b"5; a", "and inside one"),
        (b"5;a = b", "and round its equals sign"),
        (b"5garbage", "what follows the digits is no digit"),
        (b"g", "the letter behind f"),
        (b"5;", "an extension has a name"),
        (b"5;=x", "an extension has a name, even with a value"),
        (b"5;(=1", "a name is a token"),
        (b'5;a="b', "a quoted string ends"),
        (b"5;a=\x01", "a control in an extension"),
        (b"5;a=\x00b", "a NUL in an extension"),
        (b"5;a=\rb", "a bare CR in an extension may end a line for others"),
        (b"5;a=\nb", "a bare LF in an extension does"),
        (b"10000000000000005", "seventeen digits wrap to 5 in 64 bits"),
        (b"fffffffffffffff0", "a size beyond 2^63"),
        (b"\x0b5", "a vertical tab is a blank to bytes.strip"),
        (b"5;" + b"a" * 2000, "an extension does not go on for ever"),
    )
}
_CHUNKS |= {
    "chunk size ended by LF": (CHUNKED + b"5\nhello\r\n0\r\n\r\n", "A4: LF alone ends no line."),
    "chunk size ended by CR": (CHUNKED + b"5\rhello\r\n0\r\n\r\n", "A4: nor does CR alone."),
    "chunk data ended by LF": (CHUNKED + b"5\r\nhello\n0\r\n\r\n", "A4: nor behind data."),
    "chunk data ended by CR and something": (CHUNKED + b"5\r\nhello\rX0\r\n\r\n", "A4: both bytes are looked at."),
    "chunk spill": (
        CHUNKED + b"5\r\nhello world\r\n0\r\n\r\n",
        "A6: data longer than its size is a fault, not a skip.",
    ),
    "chunk ended too early": (CHUNKED + b"7\r\nhello\r\n0\r\n\r\n", "A6: shorter data swallows what follows."),
    "last chunk ended by LF": (CHUNKED + b"5\r\nhello\r\n0\n\n", "A4: LF alone ends no body."),
    "empty line ended by LF": (CHUNKED + b"5\r\nhello\r\n0\r\n\n", "A4: nor the trailer section."),
    "chunked garbage": (CHUNKED + SMUGGLED, "A4: a request in place of a chunk is no chunk."),
    "a control in a trailer": (CHUNKED + b"5\r\nhello\r\n0\r\nX: a\x00b\r\n\r\n", "A7: trailers are fields."),
    "a fold in a trailer": (CHUNKED + b"5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n", "A7: trailers do not fold either."),
    "no colon in a trailer": (CHUNKED + b"5\r\nhello\r\n0\r\nX\r\n\r\n", "A7: nor do they lack a colon."),
    "a blank before a trailer's colon": (CHUNKED + b"5\r\nhello\r\n0\r\nX : y\r\n\r\n", "A7: nor have a blank there."),
    "trailers ended by LF": (CHUNKED + b"5\r\nhello\r\n0\r\nX: a\nY: b\r\n\r\n", "A7: nor end by LF."),
    "trailers over the limit": (
        CHUNKED + b"5\r\nhello\r\n0\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
        "A15: what stands behind a body is bounded like what stands before it.",
    ),
    "101 trailers": (CHUNKED + b"5\r\nhello\r\n0\r\n" + b"X: a\r\n" * 101 + b"\r\n", "A15: also in number."),
}

_CODINGS = {
    f"Transfer-Encoding {value!r}": (POST + b"Transfer-Encoding: " + value + b"\r\n\r\n0\r\n\r\n", f"A13: {why}.")
    for value, why in (
        (b"xchunked", "a coding that ends like chunked"),
        (b"chunkedx", "or starts like it"),
        (b"gzip, chunked", "one that we cannot undo, framed by one that we can"),
        (b"chunked, gzip", "chunked is not last, so the body has no end"),
        (b"chunked, chunked", "chunked twice"),
        (b"chunked, identity", "identity is gone from HTTP, but some readers skip it"),
        (b"identity, chunked", "in either place"),
        (b"identity", "or alone"),
        (b"gzip", "a body without an end"),
        (b"", "no coding at all"),
        (b"chunked;q=1", "chunked has no parameters"),
        (b"chunked,", "a list with nothing behind"),
        (b",chunked", "or before"),
        (b'"chunked"', "a quoted string is no token"),
        (b"\x0bchunked", "a vertical tab is a blank to bytes.strip"),
        (b"\x0cchunked", "a form feed too"),
        (b"chunked\x00", "a NUL ends it for C"),
        (b"\x85chunked", "\\x85 is a blank to str.strip"),
        (b"chunked\xa0", "\\xa0 too"),
        (b"chun\tked", "a tab inside"),
        (b"cow", "nobody knows it"),
    )
}
_CODINGS |= {
    "a blank before the coding's colon": (
        POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        "A10: who trims the name sees a coding.",
    ),
    "a tab before the coding's colon": (
        POST + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        "A10: likewise.",
    ),
    "a control in the coding's name": (
        POST + b"Transfer\x00-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        "A10: who drops controls sees a coding.",
    ),
    "the coding in HTTP/1.0": (
        _get(b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.0") + HELLO,
        "A13: HTTP/1.0 knows no codings; such a request is faulty (9112 6.1).",
    ),
    "the coding in HTTP/1.0 with keep-alive": (
        _get(b"Transfer-Encoding: chunked", b"Connection: keep-alive", start=b"POST / HTTP/1.0") + HELLO + SMUGGLED,
        "A13: least of all where more could follow.",
    ),
}

_FIELDS = {
    f"{char!r} in a value": (_get(b"X: a" + char + b"b"), f"A9: {why}.")
    for char, why in (
        (b"\x00", "NUL ends a value for C"),
        (b"\r", "a bare CR is a line end to some"),
        (b"\n", "a bare LF to more"),
        (b"\x01", "controls have no place in a value"),
        (b"\x07", "a bell"),
        (b"\x08", "a backspace forges a log line"),
        (b"\x0b", "a vertical tab is a blank to bytes.strip"),
        (b"\x0c", "a form feed too"),
        (b"\x1b", "an escape reaches a terminal"),
        (b"\x1f", "a unit separator ends a line for str.splitlines"),
        (b"\x7f", "DEL"),
    )
}
_FIELDS |= {
    "obs-fold": (_get(b"X: a", b" b"), "A8: a folded value has two readings."),
    "obs-fold with a tab": (_get(b"X: a", b"\tb"), "A8: with a tab too."),
    "obs-fold of baggage": (
        _get(b"baggage: a=b,", b" sd-routing-key=qwblp48fpmb30"),
        "A8: the proxy and the service must not read different keys.",
    ),
    "obs-fold of nothing": (_get(b"X: a", b" "), "A8: a line of blanks is not the empty line."),
    "a blank before the first field": (
        b"GET / HTTP/1.1\r\n Host: location\r\n\r\n",
        "A8: neither field nor fold (9112 2.2).",
    ),
    "a blank before a name": (b"GET / HTTP/1.1\r\n X: y\r\n" + HOST + b"\r\n", "A8: likewise before another."),
    "a blank before the colon": (_get(b"X : y"), "A10: 9112 5.1 wants it refused."),
    "no colon": (_get(b"X"), "A10: a line without a colon is no field."),
    "no name": (_get(b": y"), "A10: a name has at least one character."),
    "a bracket in a name": (_get(b"X(: y"), "A10: a name is a token."),
    "a blank in a name": (_get(b"X Y: z"), "A10: likewise."),
    "an 8-bit name": (_get(b"X\xe9: y"), "A10: likewise."),
    "a control in a name": (_get(b"X\x01: y"), "A10: likewise."),
    "bare LF everywhere": (
        b"GET / HTTP/1.1\nHost: location\n\n",
        "A9: 9112 2.2 lets a recipient take LF; two must agree.",
    ),
    "bare CR everywhere": (b"GET / HTTP/1.1\rHost: location\r\r", "A9: CR alone ends nothing."),
    "LF and CR": (b"GET / HTTP/1.1\n\rHost: location\n\r\n\r", "A9: the wrong way round ends nothing either."),
    "an empty line by LF": (GET + b"\n" + b"X: y\r\n\r\n", "A9: a head does not end at a bare LF."),
    "CR CR LF": (
        b"GET / HTTP/1.1\r\r\nHost: location\r\r\n\r\r\n",
        "A9: a doubled CR is a bare one before a line end.",
    ),
    "a control far ahead of the end": (
        _get(b"X: \x01" + b"a" * 70_000),
        "A9: the first fault counts, however the bytes are cut; once it was the size if they came whole.",
    ),
    "101 fields": (GET + b"X: a\r\n" * 100 + b"\r\n", "A15: more than a hundred fields."),
    "a head over the limit": (_line_of(61440, 1), "A15: one byte more than the largest head."),
    "a large head": (_line_of(70_000), "A15: well over the limit."),
}

_HOSTS = {
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", "A11: HTTP/1.1 wants one (9112 3.2)."),
    "two Hosts": (_get(b"Host: evil"), "A11: and one only."),
    "two Hosts alike": (_get(b"Host: location"), "A11: even if they agree."),
    "two Hosts in HTTP/1.0": (_get(b"Host: evil", start=b"GET / HTTP/1.0"), "A11: in HTTP/1.0 too."),
    **{
        f"Host {value!r}": (_get(host=b"Host: " + value + b"\r\n"), f"A11: {why}.")
        for value, why in (
            (b"", "an empty Host names nobody; 9112 3.2 has it for targets without authority"),
            (b"a,b", "a list is none"),
            (b"u@a", "userinfo does not belong here"),
            (b"u:p@a", "least of all with a password"),
            (b"a/b", "nor a path"),
            (b"a?b", "nor a query"),
            (b"a#b", "nor a fragment"),
            (b"a b", "a blank"),
            (b"a\\b", "a backslash is a slash to browsers"),
            (b"a:b", "a port is a number"),
            (b"a:123456", "of at most five digits"),
            (b"[::1", "a bracket closes"),
            (b"caf\xc3\xa9", "an 8-bit name"),
            (b"a\tb", "a tab inside"),
        )
    },
}

_START_LINES = {
    "HTTP/9.9": (_get(start=b"GET / HTTP/9.9"), "A12: a version that nobody speaks."),
    "HTTP/1.2": (_get(start=b"GET / HTTP/1.2"), "A12: a minor version that never was."),
    "HTTP/2.0": (_get(start=b"GET / HTTP/2.0"), "A12: HTTP/2 is not spelled like this."),
    "HTTP/9.9 and a control": (
        _get(b"X: a\x01", start=b"GET / HTTP/9.9"),
        "A12: of two faults the first counts; once it was the second if the head came whole.",
    ),
    "HTTP/0.9": (b"GET /\r\n", "A12: a request line without a version that waits for an answer."),
    "no version": (_get(start=b"GET /"), "A12: a head that has one needs a version."),
    "a version in lower case": (_get(start=b"GET / http/1.1"), "A12: HTTP-name is case-sensitive."),
    "a version of two digits": (_get(start=b"GET / HTTP/1.10"), "A12: one digit, a dot, one digit."),
    "a version with a sign": (_get(start=b"GET / HTTP/+1.1"), "A12: and nothing else."),
    "a version without a minor": (_get(start=b"GET / HTTP/1"), "A12: both of them."),
    "a blank behind the version": (_get(start=b"GET / HTTP/1.1 "), "A12: 9112 3 allows nothing there."),
    "two blanks behind the method": (
        _get(start=b"GET  / HTTP/1.1"),
        "A14: one blank, since who splits differently sees another target.",
    ),
    "two blanks behind the target": (_get(start=b"GET /  HTTP/1.1"), "A14: one blank there too."),
    "no target": (_get(start=b"GET  HTTP/1.1"), "A14: two blanks with nothing between; once an IndexError of ours."),
    "no target, one blank": (_get(start=b"GET HTTP/1.1"), "A14: a target that is a version."),
    "a tab for a blank": (_get(start=b"GET\t/ HTTP/1.1"), "A14: tabs separate nothing in a start line."),
    "a blank before the method": (_get(start=b" GET / HTTP/1.1"), "A14: a line starts with its method."),
    "a blank in the target": (
        _get(start=b"GET /a b HTTP/1.1"),
        "A14: an invalid request line, never repaired (9112 3.2).",
    ),
    "a tab in the target": (
        _get(start=b"GET /\ta HTTP/1.1"),
        "A14: a tab may stand in values, not in targets; once it was let through where the head came whole.",
    ),
    "a method that is no token": (_get(start=b"G(T / HTTP/1.1"), "A14: a method is a token."),
    "no method": (_get(start=b" / HTTP/1.1"), "A14: not an empty one."),
    "an 8-bit target": (_get(start=b"GET /caf\xc3\xa9 HTTP/1.1"), "A14: raw 8-bit is no URI."),
    "a control in the target": (_get(start=b"GET /\x01 HTTP/1.1"), "A14: nor is a control."),
    "a fragment": (_get(start=b"GET /#x HTTP/1.1"), "A14: fragments are never sent (9112 3.2)."),
    "no slash": (_get(start=b"GET x HTTP/1.1"), "A14: neither of the four forms."),
    "a query alone": (_get(start=b"GET ?x HTTP/1.1"), "A14: likewise."),
    "* with GET": (_get(start=b"GET * HTTP/1.1"), "A14: asterisk-form belongs to OPTIONS alone."),
    "absolute-form for another host": (_get(start=b"GET http://evil/ HTTP/1.1"), "A14: two names for one target."),
    "absolute-form for another port": (_get(start=b"GET http://location:81/ HTTP/1.1"), "A14: a port is part of it."),
    "absolute-form with userinfo": (
        _get(start=b"GET http://u@location/ HTTP/1.1"),
        "A14: userinfo is refused (9110 4.2.4).",
    ),
    "absolute-form of ftp": (_get(start=b"GET ftp://location/ HTTP/1.1"), "A14: another scheme is not ours."),
    "absolute-form without a host": (
        _get(start=b"GET http:///x HTTP/1.1"),
        "A14: an authority is not empty (9110 4.2.1).",
    ),
    "CONNECT": (_get(start=b"CONNECT evil:443 HTTP/1.1", host=b"Host: evil:443\r\n"), "A14: no tunnel is opened."),
    "CONNECT with a body": (
        _get(b"Content-Length: 5", start=b"CONNECT location:80 HTTP/1.1") + b"hello",
        "A14: nor half a tunnel.",
    ),
    "a long target": (_get(start=b"GET /" + b"a" * 100_000 + b" HTTP/1.1"), "A15: 100 KB of target."),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64, "Not HTTP: a TLS hello."),
    "an empty line by LF first": (b"\n" + GET + b"\r\n", "A9: 9112 2.2 speaks of CRLF only."),
}

# These have not ended.
CUT = {
    "half a request line": (b"GET / HT", "Not a fault yet: more may come."),
    "half a head": (GET + b"X: y\r\n", "Likewise."),
    "half a head with a control": (GET + b"X: \x01" + b"a" * 5000, "A fault shows before the line ends."),
    "half a body": (POST + b"Content-Length: 10\r\n\r\nhello", "A request is complete when its length is there."),
    "half a chunk": (CHUNKED + b"a\r\nhello", "A request is complete at the last chunk."),
    "no last chunk": (CHUNKED + b"5\r\nhello\r\n", "Likewise."),
    "half the trailers": (CHUNKED + b"5\r\nhello\r\n0\r\nX: y\r\n", "And the empty line behind it."),
    "half the trailers with a control": (CHUNKED + b"0\r\nX: \x01a\r\n", "A fault shows there as it does in a head."),
}

REQUESTS: dict[str, Sample] = {
    name: Sample(data, proves)
    for family in (PLAIN, _SMUGGLING, _LENGTHS, _CHUNKS, _CODINGS, _FIELDS, _HOSTS, _START_LINES, CUT)
    for name, (data, proves) in family.items()
}

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 5\r\n"

RESPONSES: dict[str, Sample] = {
    "a length": Sample(OK + LENGTH + b"\r\nhello", "A body ends after its length."),
    "a length of 0": Sample(OK + b"Content-Length: 0\r\n\r\n", "A body of nothing ends at once."),
    "chunks": Sample(OK + TE + b"\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", "Chunks are one body."),
    "trailers": Sample(OK + TE + b"\r\n" + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", "Trailers end it."),
    "chunk extensions": Sample(OK + TE + b"\r\n5;a=b\r\nhello\r\n0\r\n\r\n", "Extensions are read over."),
    "two responses": Sample(
        OK + LENGTH + b"\r\nhello" + OK + LENGTH + b"\r\nevil!", "B22: the second is not asked for."
    ),
    "until the end": Sample(OK + b"\r\nhello", "B24: a body without framing ends with the stream.", eof=True),
    "until the end, still open": Sample(OK + b"\r\nhello", "B24: and not before it."),
    "nothing until the end": Sample(OK + b"\r\n", "B24: it may be empty.", eof=True),
    "HEAD with a length": Sample(OK + LENGTH + b"\r\n", "The answer to HEAD has no body.", method=b"HEAD"),
    "HEAD, chunked": Sample(OK + TE + b"\r\n", "Whatever its fields say.", method=b"HEAD"),
    "HEAD without framing": Sample(OK + b"\r\n", "Nor does the end of the stream matter.", method=b"HEAD"),
    "204": Sample(b"HTTP/1.1 204 No Content\r\n\r\n", "204 has no body."),
    "204 with a length": Sample(
        b"HTTP/1.1 204 No Content\r\n" + LENGTH + b"\r\n", "B23: even if it says so (9112 6.3)."
    ),
    "204 with a coding": Sample(b"HTTP/1.1 204 No Content\r\n" + TE + b"\r\n", "B23: in either way."),
    "204 with a body": Sample(
        b"HTTP/1.1 204 No Content\r\n" + LENGTH + b"\r\nhello", "B23: what follows is no body, and nobody's answer."
    ),
    "304": Sample(b"HTTP/1.1 304 Not Modified\r\n" + LENGTH + b"\r\n", "304 tells a length and has no body."),
    "100 before": Sample(b"HTTP/1.1 100 Continue\r\n\r\n" + OK + LENGTH + b"\r\nhello", "An interim head comes first."),
    "103 before": Sample(
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK + LENGTH + b"\r\nhello", "B24: with fields of its own."
    ),
    "1xx without end": Sample(
        b"HTTP/1.1 100 Continue\r\n\r\n" * 3,
        "B26: interim heads answer nothing, but the request has arrived; once it was sent again behind them.",
    ),
    "HTTP/1.0": Sample(b"HTTP/1.0 200 OK\r\n" + LENGTH + b"\r\nhello", "An older origin."),
    "HTTP/1.0 until the end": Sample(b"HTTP/1.0 200 OK\r\n\r\nhello", "As it was meant.", eof=True),
    "no phrase": Sample(b"HTTP/1.1 200 \r\n" + LENGTH + b"\r\nhello", "A phrase may be empty (9112 4)."),
    "no blank behind the code": Sample(b"HTTP/1.1 200\r\n" + LENGTH + b"\r\nhello", "Many leave the blank out."),
    "an 8-bit phrase": Sample(b"HTTP/1.1 200 \xe9\r\n" + LENGTH + b"\r\nhello", "Phrases may hold obs-text."),
    "a code of 599": Sample(b"HTTP/1.1 599 Odd\r\n" + LENGTH + b"\r\nhello", "Codes are not a list."),
    "a code of 999": Sample(
        b"HTTP/1.1 999 Odd\r\n" + LENGTH + b"\r\nhello", "Not even a short one; some sites use it."
    ),
    "a code of 099": Sample(b"HTTP/1.1 099 Odd\r\n" + LENGTH + b"\r\nhello", "B20: below 100 there is no class."),
    "a code of four digits": Sample(b"HTTP/1.1 2000 OK\r\n" + LENGTH + b"\r\nhello", "B20: a code has three digits."),
    "no code": Sample(b"HTTP/1.1 OK\r\n\r\n", "B20: and is one."),
    "garbage": Sample(b"hello world, this is no status line\r\n\r\n", "B20: no status line is no response."),
    "HTTP/2.0": Sample(b"HTTP/2.0 200 OK\r\n" + LENGTH + b"\r\nhello", "B20: not a version of this framing."),
    "HTTP/1.2": Sample(b"HTTP/1.2 200 OK\r\n" + LENGTH + b"\r\nhello", "B20: nor this."),
    "a version in lower case": Sample(b"http/1.1 200 OK\r\n" + LENGTH + b"\r\nhello", "B20: case matters."),
    "an empty line first": Sample(b"\r\n" + OK + LENGTH + b"\r\nhello", "Only requests may have one (9112 2.2)."),
    "two blanks": Sample(b"HTTP/1.1  200 OK\r\n" + LENGTH + b"\r\nhello", "One blank."),
    "both lengths": Sample(OK + LENGTH + TE + b"\r\n" + HELLO, "B23: which one?"),
    "two lengths": Sample(OK + LENGTH + b"Content-Length: 6\r\n\r\nhello!", "B23: which one?"),
    "two lengths alike": Sample(OK + LENGTH + LENGTH + b"\r\nhello", "B23: twice the same."),
    "a list of lengths": Sample(OK + b"Content-Length: 5, 5\r\n\r\nhello", "B23: in one line."),
    "a length of +5": Sample(OK + b"Content-Length: +5\r\n\r\nhello", "B23: no number."),
    "a length of 1_0": Sample(OK + b"Content-Length: 1_0\r\n\r\n0123456789", "B23: a number to Python only."),
    "a huge length": Sample(OK + b"Content-Length: 99999999999999999999\r\n\r\nhello", "B23: no 64 bits hold it."),
    "gzip, chunked": Sample(OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + HELLO, "A coding that we cannot undo."),
    "another coding": Sample(
        OK + b"Transfer-Encoding: gzip\r\n\r\nhello", "A body until the end, in a coding.", eof=True
    ),
    "two codings": Sample(OK + TE + TE + b"\r\n" + HELLO, "Chunked twice."),
    "Connection hides the coding": Sample(
        OK + b"Connection: transfer-encoding\r\n" + TE + b"\r\n" + HELLO, "A18, of an origin: framing is never removed."
    ),
    "Connection hides a length": Sample(
        OK + b"Connection: content-length\r\n" + LENGTH + b"\r\nhello", "A18: in either way."
    ),
    "obs-fold": Sample(OK + b"X: a\r\n b\r\n" + LENGTH + b"\r\nhello", "A folded value has two readings."),
    "NUL in a value": Sample(OK + b"X: a\x00b\r\n" + LENGTH + b"\r\nhello", "B23: NUL ends it for C."),
    "a control in a value": Sample(OK + b"X: a\x01b\r\n" + LENGTH + b"\r\nhello", "Controls have no place in a value."),
    "a bare CR in a value": Sample(OK + b"X: a\rb\r\n" + LENGTH + b"\r\nhello", "A line end to some."),
    "bare LF everywhere": Sample(b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", "9112 2.2: two must agree."),
    "a blank before the colon": Sample(
        OK + b"Content-Length : 5\r\n\r\nhello", "9112 5.1: a proxy must remove it; we refuse."
    ),
    "no colon": Sample(OK + b"X\r\n" + LENGTH + b"\r\nhello", "No field."),
    "101 fields": Sample(OK + b"X: a\r\n" * 101 + b"\r\n", "More than a hundred.", eof=True),
    "a large head": Sample(OK + b"X: " + b"a" * 200_000 + b"\r\n" + LENGTH + b"\r\nhello", "B23: 200 KB of head."),
    "the largest head": Sample(
        OK + b"X: " + b"a" * (61440 - len(OK) - 22) + b"\r\n" + LENGTH + b"\r\nhello",
        "The largest head, however it arrives.",
    ),
    "a bad chunk": Sample(OK + TE + b"\r\nzz\r\nhello\r\n0\r\n\r\n", "No size."),
    "a chunk that spills": Sample(OK + TE + b"\r\n5\r\nhello!\r\n0\r\n\r\n", "Longer than its size."),
    "a blank behind a size": Sample(OK + TE + b"\r\n5 \r\nhello\r\n0\r\n\r\n", "Implementations differ on it."),
    "a control in an extension": Sample(
        OK + TE + b"\r\n5;a=\x01\r\nhello\r\n0\r\n\r\n", "An extension is made of tokens."
    ),
    "a size over 2^63": Sample(OK + TE + b"\r\nfffffffffffffff0\r\nhello", "No 64 bits hold it."),
    "the largest trailers": Sample(
        OK + TE + b"\r\n0\r\nX: " + b"a" * (61440 - 3) + b"\r\n\r\n", "As large as a head, however they arrive."
    ),
    "trailers over the limit": Sample(
        OK + TE + b"\r\n5\r\nhello\r\n0\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", "Bounded like a head."
    ),
    "a cut length": Sample(OK + LENGTH + b"\r\nhel", "B21: a response that breaks off is never complete.", eof=True),
    "a cut chunk": Sample(OK + TE + b"\r\n5\r\nhel", "B21: likewise.", eof=True),
    "no last chunk": Sample(OK + TE + b"\r\n5\r\nhello\r\n", "B21: likewise.", eof=True),
    "half a head": Sample(OK + b"X: y\r\n", "Not a fault yet: more may come."),
}
