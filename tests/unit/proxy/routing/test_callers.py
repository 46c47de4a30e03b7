from __future__ import annotations

import time

import pytest

from proxy.routing.callers import Callers, identity_of, is_caller

WEB = "cluster.local/ns/hotrod/sa/web"


@pytest.mark.parametrize(
    ("lines", "identity"),
    [
        ([b"URI=spiffe://cluster.local/ns/hotrod/sa/web"], WEB),
        ([b'By=spiffe://c/ns/a/sa/me;Hash=0f;Subject="CN=x, O=y;z";URI=spiffe://cluster.local/ns/hotrod/sa/web'], WEB),
        ([b"uri=spiffe://cluster.local/ns/hotrod/sa/web;DNS=a;DNS=b"], WEB),
        ([b'URI="spiffe://cluster.local/ns/hotrod/sa/web"'], WEB),
        ([b"URI=spiffe://c/ns/a/sa/far,By=x;URI=spiffe://cluster.local/ns/hotrod/sa/web"], WEB),
        ([b"URI=spiffe://c/ns/a/sa/far", b"URI=spiffe://cluster.local/ns/hotrod/sa/web"], WEB),
        ([b'Subject="a\\",URI=spiffe://evil/x";URI=spiffe://cluster.local/ns/hotrod/sa/web'], WEB),
        # hearsay: an earlier element says nothing about who is here
        ([b"URI=spiffe://cluster.local/ns/hotrod/sa/web,By=spiffe://c/ns/a/sa/me;Hash=0f"], None),
        ([b"URI=spiffe://cluster.local/ns/hotrod/sa/web", b"Hash=0f"], None),
        ([b'Subject="URI=spiffe://cluster.local/ns/hotrod/sa/web"'], None),
        ([b'Subject=";URI=spiffe://cluster.local/ns/hotrod/sa/web;"'], None),
        # two, or none that is whole
        ([b"URI=spiffe://a/b;URI=spiffe://c/d"], None),
        ([b"URI=https://cluster.local/ns/hotrod/sa/web"], None),
        ([b"URI=cluster.local/ns/hotrod/sa/web"], None),
        ([b"URI=spiffe://"], None),
        ([b"URI=spiffe://a//b"], None),
        ([b"URI=spiffe://a/b%2Fc"], None),
        ([b"URI=spiffe://a/\xe4"], None),
        ([b"URI=spiffe://a/" + b"b" * 2048], None),
        ([b"URI=spiffe://a/b,"], None),
        ([b"URI=spiffe://a/b", b""], None),
        ([b"spiffe://a/b"], None),
        ([b'URI="spiffe://a/b'], None),
        ([b'URI="spiffe://a/b"c'], None),
        ([b""], None),
        ([], None),
    ],
)
def test_identity(lines: list[bytes], identity: str | None) -> None:
    assert identity_of(lines) == identity


@pytest.mark.parametrize(
    ("texts", "is_included"),
    [
        (["cluster.local/ns/hotrod/sa/web"], True),
        (["spiffe://cluster.local/ns/hotrod/sa/web"], True),
        (["cluster.local/ns/hotrod/sa/we"], False),
        (["cluster.local/ns/hotrod/sa/web2"], False),
        (["CLUSTER.local/ns/hotrod/sa/web"], False),
        (["cluster.local/ns/hotrod/*"], True),
        (["spiffe://cluster.local/ns/hotrod/*"], True),
        (["cluster.local/ns/other/*"], False),
        (["*/sa/web"], True),
        (["*/sa/web2"], False),
        (["*"], True),
        (["a/b", "*/web"], True),
        ([], False),
    ],
)
def test_who_is_included(texts: list[str], is_included: bool) -> None:
    callers = Callers(texts)
    assert callers.include(WEB) is is_included
    assert not callers.include(None)


@pytest.mark.parametrize("text", ["*", "a/b", "a*", "*a", "spiffe://a/b", "spiffe://a/*"])
def test_what_callers_may_say(text: str) -> None:
    assert is_caller(text)


@pytest.mark.parametrize("text", ["", "a*b", "*a*", "**", "a b", "ä", "spiffe://", "a/" + "b" * 2048, "a\n"])
def test_what_they_may_not(text: str) -> None:
    assert not is_caller(text)


@pytest.mark.parametrize("piece", [b'"', b"\\", b"a=", b"URI=", b'URI="', b";", b",", b" ", b'a="\\'])
def test_cost_is_linear(piece: bytes) -> None:
    line = b"a=" + piece * 60_000
    began_s = time.perf_counter()
    identity_of([line])
    assert time.perf_counter() - began_s < 1
