"""Properties of preview requests: whatever was in the head before, it is read as the preview's, and nothing else is
lost."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy import errors
from proxy.codec.edits import values_of
from proxy.codec.events import RequestHead
from proxy.codec.fields import request_kinds
from proxy.codec.h1.reader import HeadLimits
from proxy.codec.h1.request import RequestReader
from proxy.codec.h1.writer import head_bytes
from proxy.codec.h2.heads import RequestHeads
from proxy.preview.credentials import Credentials, Tokens
from proxy.preview.head import enter
from proxy.preview.login import local_path
from proxy.routing import baggage, tracestate
from proxy.routing.baggage import OWS
from proxy.routing.key import KeyReader, KeySettings
from proxy.routing.names import Endpoint
from proxy.routing.previews import PreviewHosts
from proxy.routing.table import Preview
from tests.support.h2script import block, request_pairs
from tests.support.hpack import decoder
from tests.support.keys import PIECES

QUICK = settings(deadline=None, max_examples=300, derandomize=True)
TOKEN = b"a-token-of-the-team"
HOST = b"web--preview-key.preview.example"
SETTINGS = (KeySettings(), KeySettings(names=(b"k", b"key", b"a.key"), headers=(b"x-key",)))
LINE = (
    st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join).filter(lambda line: not set(line) & set(b"\x00\x0b"))
)
NAMES = st.sampled_from(
    [b"baggage", b"Baggage", b"tracestate", b"TRACESTATE", b"X-Key", b"x-other", b"Cookie", b"X-Forwarded-For"]
)
FIELDS = st.lists(st.tuples(NAMES, LINE), max_size=8)
CREDENTIALS = Credentials(
    is_required=True,
    header=None,
    networks=(),
    tokens=Tokens([TOKEN]),
    is_secure=True,
    lifetime_s=60,
    clock=lambda: 0.0,
)


def http1(fields: list[tuple[bytes, bytes]], keys: KeySettings) -> RequestHead:
    reader = RequestReader(request_kinds(errors.BAD_REQUEST, keys.headers), HeadLimits(1 << 20, 1000))
    lines = [name + b": " + value for name, value in fields]
    reader.receive(head_bytes([b"GET / HTTP/1.1", b"Host: " + HOST, *lines]))
    head = reader.next_event()
    assert isinstance(head, RequestHead)
    return head


def http2(fields: list[tuple[bytes, bytes]], keys: KeySettings) -> RequestHead:
    named = [(name.lower(), value.strip(OWS)) for name, value in fields]
    return RequestHeads().read(decoder().read(block(*request_pairs(*named))), is_end=True)


def others(head: RequestHead, keys: KeySettings) -> list[tuple[bytes, list[bytes]]]:
    """The members of all other names, as they stand, header by header; the others may be laxer in what they take."""
    found = []
    for name, members in ((b"baggage", baggage.members), (b"tracestate", tracestate.members)):
        raws = [member.raw for member in members(values_of(head, name))]
        kept = [raw for raw in raws if raw.partition(b"=")[0].partition(b";")[0].strip(OWS) not in keys.names]
        found.append((name, kept))
    return found


@QUICK
@given(FIELDS, st.booleans(), st.sampled_from(SETTINGS))
def test_the_key_is_the_previews_and_others_stay(
    fields: list[tuple[bytes, bytes]], is_http2: bool, keys: KeySettings
) -> None:
    head = http2(fields, keys) if is_http2 else http1(fields, keys)
    untouched = values_of(head, b"x-other"), values_of(head, b"cookie")
    before = others(head, keys)
    enter(head, b"preview-key", b"web:8080", keys, CREDENTIALS, b"192.0.2.1", b"https")
    assert others(head, keys) == before
    assert (values_of(head, b"x-other"), values_of(head, b"cookie")) == untouched

    # as the next reader finds it, by either header alone
    lines, states = values_of(head, b"baggage"), values_of(head, b"tracestate")
    for reading in (KeyReader(keys).read(lines, states), KeyReader(keys).read(lines, [])):
        assert (reading.key, reading.ambiguous, reading.header) == (b"preview-key", False, "baggage")
    reading = KeyReader(keys).read([], states)
    assert (reading.key, reading.ambiguous) == (b"preview-key", False)
    assert (head.baggage, head.tracestate, list(head.key_fields)) == (lines, states, [])
    assert values_of(head, b"x-forwarded-for") == [b"192.0.2.1"]
    if b"x-key" in keys.headers:
        assert values_of(head, b"x-key") == []


HOST_PIECES = ["web", "api", "xn", "--", "-", ".", "k", "preview.example", ":", "80", "K", "_", "%2e", "a" * 30]


@QUICK
@given(st.lists(st.sampled_from(HOST_PIECES), max_size=9).map("".join))
def test_a_host_names_what_it_says(host: str) -> None:
    upstream = Endpoint("web", 80)
    hosts = PreviewHosts(
        [Preview("preview.example", "web", upstream), Preview("preview.example", "api", upstream, "k")]
    )
    found = hosts.find(host.encode())
    name = host.lower().split(":")[0].removesuffix(".")
    if found is None:
        assert ":" in host or name.count(".") != 2 or not name.endswith(".preview.example")
        return
    assert name.partition(".")[2] == "preview.example"
    if found.key:
        endpoint, separator, key = name.partition(".")[0].partition("--")
        assert (separator, key.encode()) == ("--", found.key)
        assert (found.upstream is not None) == (endpoint == "web" or (endpoint, key) == ("api", "k"))
    assert found.upstream is None or found.key


@QUICK
@given(
    st.lists(st.sampled_from(["/", "\\", "\t", "\r", "\n", " ", ".", "evil.test", ":", "?", "#", "@", "a"])).map(
        "".join
    )
)
def test_a_login_leads_to_this_host(to: str) -> None:
    path = local_path(to)
    assert path == "/" or path == to
    assert path.startswith("/")
    assert path[1:2] not in ("/", "\\")
    assert path.isascii()
    assert path.isprintable()
    assert "\\" not in path
