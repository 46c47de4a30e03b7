"""Who may see previews, and what of a request proves it."""

from __future__ import annotations

import time
from ipaddress import ip_network

import pytest

from proxy.codec.edits import edit_fields
from proxy.codec.events import RequestHead
from proxy.preview.credentials import Credentials, Tokens
from tests.support.exchange import request_head
from tests.support.h2script import http2_head

TOKEN, OTHER = b"a-token-of-the-team", b"another-token-of-it"
HOST = b"web--k.preview.example"
LOCAL, FAR = b"127.0.0.1", b"192.0.2.1"


class Clock:
    now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


def credentials(
    *tokens: bytes, header: bytes | None = None, secure: bool = False, clock: Clock | None = None
) -> Credentials:
    return Credentials(
        is_required=True,
        header=header,
        networks=[ip_network("127.0.0.0/8"), ip_network("2001:db8::/32")],
        tokens=Tokens(tokens) if tokens else None,
        is_secure=secure,
        lifetime_s=3600,
        clock=clock or Clock(),
    )


def heads(*fields: tuple[str, str]) -> list[RequestHead]:
    return [request_head(*[f"{name}: {value}" for name, value in fields]), http2_head(*fields)]


def cookie_of(value: bytes | None) -> str:
    assert value is not None
    return value.partition(b";")[0].decode()


@pytest.mark.parametrize(
    ("value", "is_ours"),
    [
        (TOKEN.decode(), True),
        (OTHER.decode(), True),
        (TOKEN.decode()[:-1], False),
        (TOKEN.decode() + "x", False),
        ("=", False),
    ],
)
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_bearer(value: str, is_ours: bool, scheme: str) -> None:
    for head in heads(("authorization", f"{scheme} {value}")):
        assert credentials(TOKEN, OTHER).has_bearer(head) is is_ours


def test_no_other_scheme_and_no_tokens() -> None:
    for head in heads(("authorization", f"Basic {TOKEN.decode()}")):
        assert not credentials(TOKEN).has_bearer(head)
    for head in heads(("authorization", f"Bearer {TOKEN.decode()}")):
        assert not credentials(header=b"x-user").has_bearer(head)


@pytest.mark.parametrize(
    ("peer", "value", "is_let_in"),
    [
        (LOCAL, "me", True),
        (LOCAL, "", False),
        (FAR, "me", False),
        (b"::ffff:127.0.0.1", "me", True),
        (b"::ffff:192.0.2.1", "me", False),
        (b"2001:db8::1", "me", True),
        (b"2001:db8::1%eth0", "me", True),
        (b"unknown", "me", False),
    ],
)
def test_the_header_counts_from_its_networks_alone(peer: bytes, value: str, is_let_in: bool) -> None:
    for head in heads(("x-user", value)):
        assert credentials(header=b"x-user").has_ambient(head, HOST, peer) is is_let_in
        assert not credentials(TOKEN).has_ambient(head, HOST, peer)


class TestSession:
    def test_opens_its_host_until_it_ends(self) -> None:
        clock = Clock()
        of = credentials(TOKEN, OTHER, clock=clock)
        for head in heads(("cookie", "a=b; " + cookie_of(of.session(OTHER, HOST)) + "; c=d")):
            assert of.has_ambient(head, HOST, FAR)
            assert not of.has_ambient(head, b"web--other.preview.example", FAR)
            assert not credentials(TOKEN, clock=clock).has_ambient(head, HOST, FAR)  # its token is no more
            clock.now_s += 3599
            assert of.has_ambient(head, HOST, FAR)
            clock.now_s += 1
            assert not of.has_ambient(head, HOST, FAR)
            clock.now_s -= 3600

    def test_no_token_no_session(self) -> None:
        assert credentials(TOKEN).session(b"x" * 20, HOST) is None
        assert credentials(header=b"x-user").session(TOKEN, HOST) is None

    def test_says_what_browsers_must_keep_to(self) -> None:
        cookie = credentials(TOKEN).session(TOKEN, HOST)
        assert cookie is not None
        name, *attributes = cookie.split(b"; ")
        assert name.startswith(b"pointsman-preview=")
        assert TOKEN not in cookie
        assert attributes == [b"Path=/", b"Max-Age=3600", b"HttpOnly", b"SameSite=Lax"]
        secure = credentials(TOKEN, secure=True).session(TOKEN, HOST)
        assert secure is not None
        assert secure.startswith(b"__Host-pointsman-preview=")
        assert secure.endswith(b"; Secure")

    @pytest.mark.parametrize(
        "change", ["later", "other token", "no name", "cut", "no end", "not hex", "empty", "no number", "huge"]
    )
    def test_altered(self, change: str) -> None:
        of = credentials(TOKEN, OTHER)
        name, _, value = cookie_of(of.session(TOKEN, HOST)).partition("=")
        end, _, signature = value.partition(".")
        _, others_name, _ = cookie_of(of.session(OTHER, HOST)).split(".")
        altered = {
            "later": f"{int(end) + 1}.{signature}",
            "other token": f"{end}.{others_name}.{signature.partition('.')[2]}",
            "no name": f"{end}.{signature.partition('.')[2]}",
            "cut": f"{end}.{signature[:-1]}",
            "no end": signature,
            "not hex": f"{end}.{'é' * 32}",
            "empty": "",
            "no number": f"+{end}.{signature}",
            "huge": f"{'9' * 5000}.{signature}",
        }[change]
        for head in heads(("cookie", f"{name}={value}")):
            assert of.has_ambient(head, HOST, FAR)
        for head in (request_head(f"cookie: {name}={altered}"), http2_head(("cookie", f"{name}={altered}"))):
            assert not of.has_ambient(head, HOST, FAR)

    def test_one_that_another_page_put_beside_it_shuts_nobody_out(self) -> None:
        of = credentials(TOKEN)
        good = cookie_of(of.session(TOKEN, HOST))
        for head in heads(("cookie", f"pointsman-preview=x; {good}; pointsman-preview=")):
            assert of.has_ambient(head, HOST, FAR)

    def test_a_head_full_of_them_costs_the_same_with_many_tokens(self) -> None:
        """Anybody may send as many as a head holds; each compared with each token would take seconds."""
        of = credentials(*(b"a-token-with-number-%d" % number for number in range(1000)))
        for head in heads(("cookie", ";".join(["pointsman-preview=9999999999."] * 1900))):
            began_s = time.perf_counter()
            assert not of.has_ambient(head, HOST, FAR)
            assert time.perf_counter() - began_s < 0.5


def kept(of: Credentials, head: RequestHead) -> list[tuple[bytes, bytes]]:
    edit_fields(head, of.without)
    if head.is_http2:
        return [(field.name, field.value) for field in head.fields if field.name[:1] != b":"]
    return [(line.partition(b": ")[0], line.partition(b": ")[2]) for line in head.lines[2:]]


class TestWithout:
    def test_a_cookie_of_a_line(self) -> None:
        of = credentials(TOKEN)
        for head in heads(("a", "1"), ("cookie", "x=1;  pointsman-preview=z;y=2; xpointsman-preview=3"), ("b", "2")):
            cookies = (b"cookie", b"x=1;y=2; xpointsman-preview=3")
            assert kept(of, head) == [(b"a", b"1"), cookies, (b"b", b"2")]

    def test_nothing_is_left(self) -> None:
        of = credentials(TOKEN)
        for head in heads(("cookie", "pointsman-preview=z; pointsman-preview=y"), ("b", "2")):
            assert kept(of, head) == [(b"b", b"2")]

    def test_crumbs(self) -> None:
        of = credentials(TOKEN)
        head = http2_head(("cookie", "x=1"), ("cookie", "pointsman-preview=z"), ("cookie", "y=2"))
        assert kept(of, head) == [(b"cookie", b"x=1"), (b"cookie", b"y=2")]

    def test_what_is_not_ours_stays_byte_for_byte(self) -> None:
        lines = ["Cookie:a=b;; c=d ", "Authorization: Bearer  of-the-application-itself", "X-User:me"]
        head = request_head(*lines)
        before = list(head.lines)
        edit_fields(head, credentials(TOKEN).without)
        assert head.lines == before

    def test_authorization_and_header(self) -> None:
        of = credentials(TOKEN, header=b"x-user")
        for head in heads(("authorization", f"Bearer {TOKEN.decode()}"), ("x-user", "me"), ("x-user2", "me")):
            assert kept(of, head) == [(b"x-user2", b"me")]

    @pytest.mark.parametrize("name", ["authorization", "proxy-authorization"])
    @pytest.mark.parametrize("token", [TOKEN.decode(), "a-token-in-base64=="])
    @pytest.mark.parametrize("value", ["Bearer\t{}", "Bearer x, Bearer {}", "{}", "Token token={}", 'Token token="{}"'])
    def test_a_token_that_is_said_in_another_way(self, name: str, token: str, value: str) -> None:
        """It lets nobody in, but who is let in by a cookie may send it, and it is a token all the same."""
        of = credentials(TOKEN, b"a-token-in-base64==")
        others = value.format("of-the-application-itself")
        for head in heads((name, value.format(token)), (name, others)):
            assert not of.has_bearer(head)
            assert kept(of, head) == [(name.encode(), others.encode())]

    def test_a_long_value_costs_little_with_many_tokens(self) -> None:
        of = credentials(*(b"a-token-with-number-%d" % number for number in range(1000)))
        began_s = time.perf_counter()
        assert of.without(b"authorization", b"of-the-application-itself " * 2400) is not None
        assert time.perf_counter() - began_s < 0.5


def test_whether_anybody_can_be_let_in() -> None:
    assert not credentials().can_be_met
    assert credentials(TOKEN).can_be_met
    assert credentials(header=b"x-user").can_be_met
