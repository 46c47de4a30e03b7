"""Our reading of HTTP/1.1 beside h11: what we accept, h11 must read alike, to where the message ends. Two readers
that differ there are what request smuggling is made of.

`REQUEST_DEVIATIONS` and `RESPONSE_DEVIATIONS` are the reviewed lists of samples that one of us refuses. An entry fails
when it is no longer true, and a sample that is missing there fails as well. There is no list of messages that both
accept and read differently: there must be none.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.corpus.http1 import REQUESTS, RESPONSES, Sample
from tests.support.h11_peer import (
    NO_TRAILERS,
    Message,
    check_same,
    check_spoiled,
    comparable,
    h11_request,
    h11_response,
    our_request,
    our_response,
    verdict,
)

QUICK = settings(deadline=None, max_examples=300, derandomize=True)

# --- where we differ, and why: (reason, our verdict, h11's, samples) ---

Deviations = list[tuple[str, str, str, list[str]]]

REQUEST_DEVIATIONS: Deviations = [
    (
        "an empty line before a request is ignored, as RFC 9112 section 2.2 asks of servers",
        "accepted",
        "refused",
        ["an empty line first", "two empty lines first"],
    ),
    (
        "both lengths: section 6.1 allows either; h11 takes the coding, and so would not what stands behind us",
        "refused",
        "accepted",
        ["CL.TE", "CL.TE with a request", "TE.CL", "TE and a length of 0"],
    ),
    (
        "two lengths that agree may be merged (section 6.3); we refuse, since readers take the first, the last or both",
        "refused",
        "accepted",
        ["CL.CL alike", "Content-Length b'5,5'"],
    ),
    (
        "no signed 64 bits hold this length; h11 counts in Python's integers",
        "refused",
        "unfinished",
        [
            "Content-Length b'9223372036854775808'",
            "Content-Length b'18446744073709551617'",
            "chunk size b'10000000000000005'",
            "chunk size b'fffffffffffffff0'",
        ],
    ),
    (
        "a line ends with CRLF; h11 takes LF in heads and trailers, as section 2.2 allows",
        "refused",
        "accepted",
        [
            "a length behind a bare LF",
            "bare LF everywhere",
            "an empty line by LF",
            "empty line ended by LF",
            "trailers ended by LF",
        ],
    ),
    (
        "h11 waits for an end of line where we see already that the bytes before it are faulty",
        "refused",
        "unfinished",
        [
            "bare CR everywhere",
            "CR CR LF",
            "last chunk ended by LF",
            "HTTP/0.9",
            "half a head with a control",
            "half the trailers with a control",
        ],
    ),
    (
        "obs-fold: section 5.2 lets a server refuse or unfold; h11 unfolds",
        "refused",
        "accepted",
        [
            "a folded coding",
            "a coding folded into another field",
            "obs-fold",
            "obs-fold with a tab",
            "obs-fold of baggage",
            "obs-fold of nothing",
            "a fold in a trailer",
        ],
    ),
    (
        "h11 reads over anything behind a semicolon; we want extensions by the grammar of 7.1.1, without blanks",
        "refused",
        "accepted",
        [
            "chunk size b'5 '",
            "chunk size b'5\\t'",
            "chunk size b'5; a'",
            "chunk size b'5;a = b'",
            "chunk size b'5;'",
            "chunk size b'5;=x'",
            "chunk size b'5;(=1'",
            "chunk size b'5;a=\"b'",
            "chunk size b'5;a=\\x01'",
            "chunk size b'5;a=\\x00b'",
            "chunk size b'5;a=\\rb'",
        ],
    ),
    (
        "h11 lets controls but NUL and white space stand in values (RFC 9110 section 5.5: invalid)",
        "refused",
        "accepted",
        [
            *(f"{char!r} in a value" for char in (b"\x01", b"\x07", b"\x08", b"\x1b", b"\x1f", b"\x7f")),
            "a control far ahead of the end",
        ],
    ),
    (
        "section 6.1: a coding in HTTP/1.0 is a framing fault",
        "refused",
        "accepted",
        ["the coding in HTTP/1.0", "the coding in HTTP/1.0 with keep-alive"],
    ),
    (
        "limits: 61440 bytes and 100 fields of head or trailers, 1024 bytes of chunk line; h11 has one of bytes in all",
        "refused",
        "accepted",
        [
            "a head over the limit",
            "a large head",
            "a long target",
            "101 fields",
            "101 trailers",
            "trailers over the limit",
            "chunk size b'5;aaaaaaaaaaaaaaaaaaaaaaaaaaaa'",
        ],
    ),
    (
        "Host is an authority without userinfo (RFC 9110 section 7.2); h11 counts Hosts and takes any value",
        "refused",
        "accepted",
        [name for name in REQUESTS if name.startswith("Host b'")],
    ),
    (
        "versions that do not exist, or are framed otherwise: 505; h11 leaves that to its user",
        "refused",
        "accepted",
        ["HTTP/9.9", "HTTP/9.9 and a control", "HTTP/1.2", "HTTP/2.0"],
    ),
    (
        "targets: section 3.2's four forms, agreeing with Host; h11 takes any visible ASCII",
        "refused",
        "accepted",
        [
            "a fragment",
            "no slash",
            "a query alone",
            "* with GET",
            "absolute-form for another host",
            "absolute-form for another port",
            "absolute-form with userinfo",
            "absolute-form of ftp",
            "absolute-form without a host",
        ],
    ),
    ("no tunnels: 405", "refused", "accepted", ["CONNECT", "CONNECT with a body"]),
]

RESPONSE_DEVIATIONS: Deviations = [
    ("versions that are framed otherwise", "refused", "accepted", ["HTTP/2.0", "HTTP/1.2"]),
    (
        "both lengths, or two: an origin that says two things may mean either; h11 takes the coding, merges equals",
        "refused",
        "accepted",
        ["both lengths", "two lengths alike", "a list of lengths"],
    ),
    ("no signed 64 bits hold it", "refused", "unfinished", ["a huge length", "a size over 2^63"]),
    ("obs-fold: section 5.2 lets a proxy refuse or unfold", "refused", "accepted", ["obs-fold"]),
    ("a line ends with CRLF", "refused", "accepted", ["bare LF everywhere"]),
    ("controls in values", "refused", "accepted", ["a control in a value"]),
    (
        "extensions by the grammar, without blanks",
        "refused",
        "accepted",
        ["a blank behind a size", "a control in an extension"],
    ),
    ("limits, as for requests", "refused", "accepted", ["101 fields", "a large head", "trailers over the limit"]),
]


def by_sample(deviations: Deviations, samples: dict[str, Sample]) -> dict[str, tuple[str, str]]:
    """Our verdict and h11's by sample; each sample stands on the list once, and exists."""
    table: dict[str, tuple[str, str]] = {}
    for _, ours, theirs, names in deviations:
        for name in names:
            assert name in samples
            assert name not in table
            assert ours != theirs
            table[name] = (ours, theirs)
    return table


OF_REQUESTS = by_sample(REQUEST_DEVIATIONS, REQUESTS)
OF_RESPONSES = by_sample(RESPONSE_DEVIATIONS, RESPONSES)


@pytest.mark.parametrize("name", REQUESTS)
def test_request(name: str) -> None:
    ours, theirs = our_request(REQUESTS[name]), h11_request(REQUESTS[name])
    check_same(ours, theirs)
    if name in OF_REQUESTS:
        assert (verdict(ours), verdict(theirs)) == OF_REQUESTS[name], "the entry is no longer true"
    else:
        assert verdict(ours) == verdict(theirs), f"a new deviation: {ours!r:.200}, {theirs!r:.200}"


@pytest.mark.parametrize("name", RESPONSES)
def test_response(name: str) -> None:
    ours, theirs = our_response(RESPONSES[name]), h11_response(RESPONSES[name])
    check_same(ours, theirs)
    if name in OF_RESPONSES:
        assert (verdict(ours), verdict(theirs)) == OF_RESPONSES[name], "the entry is no longer true"
    else:
        assert verdict(ours) == verdict(theirs), f"a new deviation: {ours!r:.200}, {theirs!r:.200}"


# --- well-formed messages: both accept, and agree ---

TCHARS = "!#$%&'*+-.^_`|~09azAZ"
TOKENS = st.text(TCHARS, min_size=1, max_size=8).map(str.encode)
OWS = st.sampled_from([b"", b" ", b"\t", b" \t "])
VALUES = st.lists(
    st.sampled_from([b"a", b"Z", b"9", b",", b";", b"=", b'"', b":", b"\xe9", b"a b", b"x\ty"]), max_size=6
)
NAMES = TOKENS.filter(lambda name: name.lower() not in NO_TRAILERS)
BODIES = st.lists(st.binary(min_size=1, max_size=40), max_size=4)
METHODS = st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"get", b"X-Y"])
TARGETS = st.text("/?=&%._-~a0:@", max_size=12).map(lambda text: b"/" + text.encode())
BEHIND = st.sampled_from([b"", b"GET /next HTTP/1.1\r\nHost: b\r\n\r\n", b"\r\n", b"0\r\n\r\n", b"\x00"])
EXTENSIONS = st.sampled_from([b"", b";a", b";a=b", b';a="b;c\\"d";e'])


@st.composite
def field_lines(draw: st.DrawFn) -> bytes:
    lines = b""
    for name, value in draw(st.lists(st.tuples(NAMES, VALUES.map(b"".join)), max_size=5)):
        lines += name + b":" + draw(OWS) + value + draw(OWS) + b"\r\n"
    return lines


@st.composite
def framed(draw: st.DrawFn) -> tuple[bytes, bytes, bytes]:
    """A framing field, the body as it goes over the wire, and as it is meant."""
    pieces = draw(BODIES)
    body = b"".join(pieces)
    if draw(st.booleans()):
        return b"Content-Length: %d\r\n" % len(body), body, body
    wire = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), draw(EXTENSIONS), piece) for piece in pieces)
    return b"Transfer-Encoding: chunked\r\n", wire + b"0\r\n" + draw(field_lines()) + b"\r\n", body


@QUICK
@given(METHODS, TARGETS, field_lines(), field_lines(), framed(), BEHIND, st.integers(0, 3))
def test_well_formed_request(
    method: bytes,
    target: bytes,
    before: bytes,
    after: bytes,
    framing: tuple[bytes, bytes, bytes],
    behind: bytes,
    connection: int,
) -> None:
    length, wire, body = framing
    option = [b"", b"Connection: close\r\n", b"Connection: a, x-gone\r\nX-Gone: 1\r\n", b"TE: trailers\r\n"][connection]
    head = b"%b %b HTTP/1.1\r\n%bHost: a\r\n%b%b%b\r\n" % (method, target, before, option, length, after)
    sample = Sample(head + wire + behind, "")
    ours, theirs = our_request(sample), h11_request(sample)
    assert isinstance(ours, Message)
    assert isinstance(theirs, Message)
    assert comparable(ours) == comparable(theirs)
    assert (ours.start, ours.body, ours.end) == ((method, target), body, len(head + wire))


@QUICK
@given(st.sampled_from([200, 206, 404, 500, 599]), field_lines(), framed(), BEHIND, st.integers(0, 2))
def test_well_formed_response(
    status: int, fields: bytes, framing: tuple[bytes, bytes, bytes], behind: bytes, interim: int
) -> None:
    length, wire, body = framing
    first = b"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n" * interim
    head = b"HTTP/1.1 %d Phrase\r\n%b%b\r\n" % (status, fields, length)
    sample = Sample(first + head + wire + behind, "")
    ours, theirs = our_response(sample), h11_response(sample)
    assert isinstance(ours, Message)
    assert isinstance(theirs, Message)
    assert comparable(ours) == comparable(theirs)
    assert (ours.body, ours.end, ours.interim) == (body, len(first + head + wire), [103] * interim)


# --- spoiled messages: what we still accept, h11 reads alike ---

SHORT_REQUESTS = [sample for sample in REQUESTS.values() if len(sample.data) < 500]
SHORT_RESPONSES = [sample for sample in RESPONSES.values() if len(sample.data) < 500]
SCRAPS = [
    b"\r\n",
    b"\r",
    b"\n",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"0",
    b"5",
    b"\x00",
    b"\x0b",
    b"\x80",
    b"\xa0",
    b"\r\n\r\n",
]
SCRAPS += [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Host: location\r\n"]
SCRAPS += [b"HTTP/1.0", b"x", b"chunked", b"0\r\n\r\n", b"5\r\nhello\r\n", b"Connection: x\r\n", b"GET / HTTP/1.1\r\n"]


@st.composite
def spoiled(draw: st.DrawFn, samples: list[Sample]) -> Sample:
    """A sample with up to three scraps put in, or bytes taken out."""
    sample = draw(st.sampled_from(samples))
    data = sample.data
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(data)))
        until = place + draw(st.sampled_from([0, 0, 0, 1, 2, 20]))
        data = data[:place] + draw(st.sampled_from([b"", *SCRAPS])) + data[until:]
    return Sample(data, "", draw(st.sampled_from([sample.method, b"HEAD"])), draw(st.booleans()))


@settings(QUICK, max_examples=2000)
@given(spoiled(SHORT_REQUESTS))
def test_spoiled_request(sample: Sample) -> None:
    check_spoiled(sample, our_request(sample), h11_request(sample))


@settings(QUICK, max_examples=1000)
@given(spoiled(SHORT_RESPONSES))
def test_spoiled_response(sample: Sample) -> None:
    check_spoiled(sample, our_response(sample), h11_response(sample))
