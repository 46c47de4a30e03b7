"""Routing headers as they stand on the wire, each with a sentence on what it proves. Numbers are CHECKLIST's.

The table says what the headers *are*; where they lead is with the tests. `KEY` has a route, `OTHER` is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass

KEY = b"qwblp48fpmb30"
OTHER = b"k3v0z8m1c2d4e"
TAG = b"sd-routing-key=" + KEY
OTHER_TAG = b"sd-routing-key=" + OTHER


@dataclass(frozen=True, slots=True)
class Routing:
    """Field lines of one request, in order."""

    lines: tuple[bytes, ...]
    proves: str


def _padded(size: int, *members: bytes) -> bytes:
    """A list of these members, and before them one that makes it `size` bytes long."""
    end = b"".join(b"," + member for member in members)
    return b"pad=" + b"v" * (size - 4 - len(end)) + end


def _members(count: int, *last: bytes) -> bytes:
    return b",".join([*(b"m%d=v%d" % (number, number) for number in range(count - len(last))), *last])


_LIMITS = {
    "8192 bytes": ((b"baggage: " + _padded(8192, TAG),), "F43: the longest that everybody must take (W3C 3.3.2)."),
    "64 members": ((b"baggage: " + _members(64, TAG),), "F43: as many as everybody must take."),
    "8192 bytes of 64 members": (
        (b"baggage: " + _padded(8192, *_members(62).split(b","), TAG),),
        "F43: both at once.",
    ),
    "8193 bytes": ((b"baggage: " + _padded(8193, TAG),), "F43: one line is never cut, refused or read in part."),
    "40 KB": ((b"baggage: " + _padded(40_000, TAG),), "F43: far beyond the limit, the last member still counts."),
    "180 members": ((b"baggage: " + _members(180, TAG),), "F43: members are not counted."),
    "1000 members": ((b"baggage: " + _members(1000, TAG),), "F43: not even so many."),
    "8192 bytes in two lines": (
        (b"baggage: " + _padded(4000, b"a=1"), b"baggage: " + _padded(4191, TAG)),
        "F43: several lines become one up to the limit, since some SDKs read only the first.",
    ),
    "8193 bytes in two lines": (
        (b"baggage: " + _padded(4000, b"a=1"), b"baggage: " + _padded(4192, TAG)),
        "F43: beyond it they stay as they are, and route alike.",
    ),
}

_BAGGAGE = {
    "the key twice": ((b"baggage: " + TAG + b"," + TAG,), "F44: the same is no contradiction."),
    "two keys": ((b"baggage: " + OTHER_TAG + b"," + TAG,), "F44: the last counts, as in OpenTelemetry's SDKs."),
    "two keys, the other last": ((b"baggage: " + TAG + b"," + OTHER_TAG,), "F44: the last counts."),
    "two lines": ((b"baggage: a=1", b"X: y", b"Baggage: " + TAG), "F44: lines are one list."),
    "two lines, two keys": ((b"baggage: " + TAG, b"baggage: " + OTHER_TAG), "F44: the last of all."),
    "a bad escape": ((b"baggage: sd-routing-key=%zz,a=1",), "F44: no key, and never an error."),
    "half an escape": ((b"baggage: sd-routing-key=" + KEY + b"%4",), "F44: likewise at the end."),
    "a bad escape elsewhere": ((b"baggage: a=%,b=%%,c=%g1," + TAG,), "F44: another member's fault is its own."),
    "blanks everywhere": (
        (b"baggage: a = 1 ;p = 2\t,\tsd-routing-key \t=  " + KEY + b"\t ; q=3 , b=2",),
        "F44: blanks and tabs round `=`, `;` and `,` are nothing.",
    ),
    "empty members": ((b"baggage: ,, ,\t," + TAG + b",,",), "F44: members of nothing are skipped."),
    "nothing": ((b"baggage:",), "F44: a list of nothing."),
    "commas": ((b"baggage: " + b"," * 3000,), "F44: or of less."),
    "8-bit text": ((b"baggage: a=\xc3\xa4\xff," + TAG,), "F44: such a member is broken, and skipped alone."),
    "8-bit text in the key": ((b"baggage: sd-routing-key=\xc3\xa4",), "F44: a broken member is not there."),
    "a key between no-break spaces": ((b"baggage: sd-routing-key=\xa0" + KEY + b"\x85",), "F44: they are no blanks."),
    "a key before \\x85": ((b"baggage: " + TAG + b"\x85",), "A9: at a value's end Python would strip it."),
    "a key before \\xa0": ((b"baggage: " + TAG + b"\xa0",), "A9: likewise."),
    "quotes": ((b'baggage: sd-routing-key="' + KEY + b'"',), "F44: quotes do not belong into values."),
    "an encoded key": ((b"baggage: sd-routing-key=%71%77" + KEY[2:],), "F44: SDKs encode as they like."),
    "properties": ((b"baggage: sd-routing-key=" + KEY + b";ttl=1;once",), "F44: they are not the value."),
    "folded properties": ((b"baggage: sd-routing-key=" + KEY + b"+%3Bttl%3D1",), "F44: as one SDK sends them on."),
    "too long": ((b"baggage: sd-routing-key=" + b"a" * 64,), "F44: 63 characters are a key, 64 are none."),
    "named by Connection": (
        (b"Connection: baggage, tracestate, host", b"baggage: " + TAG, b"tracestate: a=b"),
        "A18: a request cannot take its own routing headers, or the host, off.",
    ),
    "tracestate named by Connection": (
        (b"Connection: close, TraceState", b"tracestate: " + TAG),
        "A18: likewise, in any case.",
    ),
}

_TRACEPARENT = b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
_TRACESTATE = {
    name: ((_TRACEPARENT, *(b"tracestate: " + line for line in lines)), proves)
    for name, (lines, proves) in {
        "32 entries": ([_members(32, TAG)], "F45: as many as a vendor may count on (trace context 3.3.1.5)."),
        "33 entries": ([_members(33, TAG)], "F45: one more is an invalid list there, and still travels on."),
        "512 characters": ([_padded(512, TAG)], "F45: what everybody ought to pass on."),
        "a long list": ([_padded(8000, TAG)], "F45: more passes too."),
        "a key of 256 characters": ([b"z" * 256 + b"=1," + TAG], "F45: the longest name."),
        "a key of 257 characters": ([b"z" * 257 + b"=1," + TAG], "F45: and a longer one."),
        "a tenant": ([b"t@system=1,fw529a3039@dt=a," + TAG], "F45: tenant@system is a name."),
        "a tenant and a name of ours": ([b"tenant@sd-routing-key=" + KEY], "F45: a tenant's name is not ours."),
        "a long tenant": ([b"t" * 241 + b"@" + b"v" * 14 + b"=1," + TAG], "F45: 241 and 14 characters."),
        "a name twice": ([b"foo=1,foo=2," + TAG], "F45: an invalid list elsewhere."),
        "our name twice": ([TAG + b"," + OTHER_TAG], "F45: the first counts, being the newest."),
        "our name twice, the other first": ([OTHER_TAG + b"," + TAG], "F45: the first counts."),
        "two lines": ([b"foo=1", TAG], "F45: lines are one list, in order."),
        "an empty line between": ([b"foo=1", b"", TAG], "F45: a line of nothing adds nothing."),
        "blanks round commas": ([b"foo=1 \t , \t" + TAG + b" \t , bar=2"], "F45: members are trimmed."),
        "a blank before =": ([b"foo =1,sd-routing-key =" + KEY], "F45: not round `=`, so this is no name of ours."),
        "a blank behind =": ([b"sd-routing-key= " + KEY], "F45: it belongs to the value, which is no key."),
        "an upper-case name": ([b"FOO=1," + TAG], "F45: names are in lower case there; it travels on."),
        "a name with a dot": ([b"foo.bar=1," + TAG], "F45: likewise."),
        "no value": ([b"foo,bar=," + TAG], "F45: members without one."),
        "two =": ([b"foo=a=b," + TAG], "F45: the value goes on to the comma."),
        "ends in a comma": ([TAG + b","], "F45: empty members are skipped."),
        "8-bit text": ([b"foo=\xc3\xa4," + TAG], "F45: passed on as it is."),
        "encoded": ([b"sd-routing-key=%71" + KEY[1:]], "F45: values are raw here."),
    }.items()
}
_TRACESTATE |= {
    "no traceparent": ((b"tracestate: " + TAG,), "F45: a key routes without a trace."),
    "two traceparents": ((_TRACEPARENT, _TRACEPARENT, b"tracestate: " + TAG), "F45: they are not ours to judge."),
    "a bad traceparent": ((b"traceparent: ff-x", b"tracestate: " + TAG), "F45: likewise."),
    "TraceState": ((b"TrAcEsTaTe: " + TAG,), "F45: field names know no case."),
}

# What an attacker writes where a key belongs.
_VALUES = {
    "an unknown key": b"nobody",
    "a traversal": b"../../etc/passwd",
    "an encoded traversal": b"..%2f..%2fetc%2fpasswd",
    "an encoded line end": b"a%0d%0aHost:%20evil",
    "an encoded line end behind a key": KEY + b"%0d%0ax-evil:%201",
    "an encoded NUL": KEY + b"%00",
    "an endpoint": b"127.0.0.1:9",
    "a metadata address": b"169.254.169.254",
    "a URL": b"http://evil:80/",
    "a name": b"evil.example",
    "a terminal escape": b"%1b%5b31m",
    "a log line": b"x%0apointsman%20proxy:%20table%20swapped",
    "a label of a metric": b"x%22} 1",
    "a template": b"${jndi:ldap:evil}",
    "every character": b"!#$%25&'()*+-./:<=>?@[]^_`{|}~",
}
_INJECTED = {
    f"{name} in {header}": (
        (b"%b: %b%b" % (header.encode(), b"" if header == "x-route" else b"sd-routing-key=", value),),
        f"F46: {name} names no place.",
    )
    for name, value in _VALUES.items()
    for header in ("baggage", "tracestate", "x-route")
}
_INJECTED |= {
    "the name of another header": ((b"x-sd-routing-key: " + KEY, b"sd-routing-key: " + KEY), "F46: only what is read."),
    "an authority's": ((b"X-Forwarded-Host: evil", b"Forwarded: host=evil"), "F46: nor does anything else name it."),
}

ROUTINGS = {
    name: Routing(lines, proves)
    for prefix, family in (("", _LIMITS), ("", _BAGGAGE), ("tracestate: ", _TRACESTATE), ("", _INJECTED))
    for name, (lines, proves) in ((prefix + each, entry) for each, entry in family.items())
}

# Repeated to 64 KB, a start before it: what makes a careless parser slow.
SLOW = {
    f"{piece!r} behind {start!r}": start + piece * (65536 // len(piece))
    for piece in (b",", b";", b"=", b"%", b"%41", b" ", b" ,", b"\t=", b"a=1,", b"sd-routing-key", TAG + b",", b"k=;,")
    for start in (b"", b"sd-routing-key=", b'"')
}
