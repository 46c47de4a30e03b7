"""The login form, and what is taken from it."""

from __future__ import annotations

import re

import pytest

from proxy.codec.events import RequestHead
from proxy.preview.login import PATH, is_from_here, is_login, local_path, page, read_form, wants_page
from tests.support.exchange import request_head
from tests.support.h2script import connect_head, http2_head

HOST = b"web--k.preview.example"
FORM = ("content-type", "application/x-www-form-urlencoded")


def heads(*fields: tuple[str, str]) -> list[RequestHead]:
    return [request_head(*[f"{name}: {value}" for name, value in fields]), http2_head(*fields)]


@pytest.mark.parametrize("to", ["/", "/a/b?c=d&e=%2F", "/a//b", "/?//evil.test", "/@evil.test", "/:80"])
def test_paths_of_this_host(to: str) -> None:
    assert local_path(to) == to


@pytest.mark.parametrize(
    "to",
    [
        "",
        "//evil.test",
        "/\\evil.test",
        "\\\\evil.test",
        "https://evil.test/",
        "javascript:alert(1)",
        "evil.test",
        "/\t/evil.test",
        "/ /evil.test",
        "/\n/evil.test",
        "/a\r\nSet-Cookie: x=y",
        "/a\\b",
        "/ä",
        "?a",
        "*",
        PATH.decode(),
        PATH.decode() + "?a",
    ],
)
def test_anything_else_leads_to_the_first_page(to: str) -> None:
    assert local_path(to) == "/"


def test_the_page_holds_the_path_escaped_and_no_script() -> None:
    text = page("/a?b=\"><script>alert(1)</script>'&c").decode()
    assert "/a?b=&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&#x27;&amp;c" in text
    assert "<script" not in text
    assert "role=alert" not in page("/").decode()
    assert "no token that is in force" in page("/", has_failed=True).decode()
    assert re.findall(r"(?:action|src|href)=[^\s>]+", text) == [f'action="{PATH.decode()}"']


def test_the_login_path() -> None:
    assert is_login(PATH)
    assert is_login(PATH + b"?a=b")
    assert not is_login(PATH + b"/")
    assert not is_login(b"/a" + PATH)


def test_who_gets_a_page() -> None:
    for head in heads(("accept", "text/html,application/xhtml+xml;q=0.9")):
        assert wants_page(head)
    for head in (*heads(("accept", "*/*")), *heads(), connect_head("websocket", ("accept", "text/html"))):
        assert not wants_page(head)


@pytest.mark.parametrize(
    ("fields", "is_one"),
    [
        ([], True),  # no browser: they all send Origin with a post to elsewhere
        ([("origin", "https://web--k.preview.example")], True),
        ([("origin", "https://WEB--K.preview.example")], True),
        ([("origin", "http://web--k.preview.example")], False),
        ([("origin", "https://web--other.preview.example")], False),
        ([("origin", "https://web--k.preview.example.evil.test")], False),
        ([("origin", "null")], False),
        ([("origin", "https://web--k.preview.example"), ("origin", "https://evil.test")], False),
        ([("sec-fetch-site", "same-origin")], True),
        ([("sec-fetch-site", "same-origin"), ("origin", "null")], True),
        ([("sec-fetch-site", "none")], True),
        ([("sec-fetch-site", "same-site")], False),
        ([("sec-fetch-site", "cross-site")], False),
        ([("sec-fetch-site", "cross-site"), ("origin", "https://web--k.preview.example")], False),
        ([("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], False),
    ],
)
def test_posted_from_here(fields: list[tuple[str, str]], is_one: bool) -> None:
    for head in heads(*fields):
        assert is_from_here(head, b"https", HOST) is is_one


@pytest.mark.parametrize(
    ("body", "form"),
    [
        (b"token=a%2Bb&to=%2Fx%3Fy", (b"a+b", "/x?y")),
        (b"token=++abc%0A&to=//evil.test", (b"abc", "/")),
        (b"token=", (b"", "/")),
        (b"token=%C3%A4", (b"\xc3\xa4", "/")),
        (b"token=%FF", (b"\xef\xbf\xbd", "/")),
        (b"to=/", None),
        (b"token=a&token=b", None),
        (b"token=\xe4", None),
        (b"&".join(b"%d=1" % number for number in range(20)), None),
        (b"", None),
    ],
)
def test_forms(body: bytes, form: tuple[bytes, str] | None) -> None:
    for head in heads(FORM):
        assert read_form(head, body) == form


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "application/json"])
def test_other_kinds_are_no_form(kind: str) -> None:
    for head in (*heads(("content-type", kind)), *heads(), *heads(FORM, FORM)):
        assert read_form(head, b"token=a") is None


def test_a_form_may_say_its_charset() -> None:
    for head in heads(("content-type", "Application/X-WWW-Form-Urlencoded; charset=UTF-8")):
        assert read_form(head, b"token=a") == (b"a", "/")
