"""What is said to Istio, and how it is added to what the owner said."""

from __future__ import annotations

import pytest

from controller.istio import matches as istio
from controller.istio.matches import (
    HeaderMatch,
    MatchConflict,
    MatchTooLong,
    any_key_matches,
    gateway_any_key_matches,
    gateway_key_matches,
    key_matches,
    merged,
)
from controller.istio.patterns import literal
from proxy.routing.names import Workload

KEY = "qwblp48fpmb30"
ME = Workload("hotrod", "Deployment", "location")
OURS = HeaderMatch({"baggage": {"regex": "a.*"}}, {"tracestate": {"regex": "b"}})


def test_the_loose_form_is_the_one_in_use() -> None:
    """SPEC 8, byte for byte."""
    regex = r"^.*\b(sd-routing-key|sd-sandbox)\s*=[^,]*\bqwblp48fpmb30\b.*$"
    assert [match.document() for match in key_matches(KEY, "signadot")] == [
        {"headers": {"baggage": {"regex": regex}}},
        {"headers": {"tracestate": {"regex": regex}}},
    ]


def test_strict_is_one_match_for_each_header() -> None:
    in_baggage, in_tracestate = key_matches(KEY)
    assert (set(in_baggage.headers), set(in_baggage.without_headers)) == ({"baggage"}, set())
    assert (set(in_tracestate.headers), set(in_tracestate.without_headers)) == ({"tracestate"}, {"baggage"})


def test_a_long_key_takes_a_match_for_each_name() -> None:
    told = key_matches("a." * 31 + "b")
    assert [(set(match.headers), set(match.without_headers)) for match in told] == [
        ({"baggage"}, set()),
        ({"baggage"}, {"baggage"}),
        ({"tracestate"}, {"baggage"}),
    ]


def test_what_istio_would_refuse_is_refused() -> None:
    with pytest.raises(MatchTooLong, match=r"of \d{4} characters; Istio takes 1024"):
        key_matches(KEY, names=["n" * 200, "sd-sandbox"])
    with pytest.raises(MatchTooLong, match="a key name of 1024 characters"):
        key_matches(KEY, "signadot", ["n" * 1024])
    with pytest.raises(MatchTooLong):
        any_key_matches(ME, ["n" * 1024])
    with pytest.raises(MatchTooLong, match="Gateway API takes 4096"):
        gateway_key_matches(KEY, names=["n" * 200, "m" * 200])


def test_an_unknown_form() -> None:
    for told in (key_matches, gateway_key_matches):
        with pytest.raises(ValueError, match="strict, signadot"):
            told(KEY, "sloppy")


def test_literals() -> None:
    assert literal("a-b_c.d~e") == r"a-b_c\.d~e"
    assert literal(r".*+?()|[]{}^$") == r"\.\*\+\?\(\)\|\[\]\{\}\^\$"


def test_the_gateway_api_gets_what_it_can_say() -> None:
    told = gateway_key_matches(KEY)
    for match in (*told.baggage, *told.guard, *told.tracestate, *gateway_any_key_matches()):
        (header,) = match["headers"]
        assert header["type"] == "RegularExpression"
        assert header["name"] in ("baggage", "tracestate")
    loose = gateway_key_matches(KEY, "signadot")
    assert [len(loose.baggage), len(loose.guard), len(loose.tracestate)] == [1, 0, 1]


# --- merging ---


def test_an_empty_block_becomes_ours() -> None:
    assert merged({}, OURS) == {
        "headers": {"baggage": {"regex": "a.*"}},
        "withoutHeaders": {"tracestate": {"regex": "b"}},
    }


def test_what_the_owner_said_stays() -> None:
    block = {
        "name": "api",
        "uri": {"prefix": "/api"},
        "headers": {"x-user": {"exact": "me"}},
        "withoutHeaders": {"baggage": {"regex": "c"}},
    }
    before = repr(block)
    assert merged(block, OURS) == {
        "name": "api",
        "uri": {"prefix": "/api"},
        "headers": {"x-user": {"exact": "me"}, "baggage": {"regex": "a.*"}},
        "withoutHeaders": {"baggage": {"regex": "c"}, "tracestate": {"regex": "b"}},
    }
    assert repr(block) == before


@pytest.mark.parametrize("name", ["baggage", "Baggage"])
def test_two_conditions_on_one_header_cannot_be_said(name: str) -> None:
    with pytest.raises(MatchConflict, match=name):
        merged({"headers": {name: {"exact": "x"}}}, OURS)


def test_the_same_condition_twice_is_one() -> None:
    block = merged({}, OURS)
    assert merged(block, OURS) == block


@pytest.mark.parametrize(
    ("theirs", "regex"),
    [
        ({"exact": "c.d"}, r"(?:c\.d)|(?:b)"),
        ({"prefix": "c.d"}, r"(?:c\.d.*)|(?:b)"),
        ({"regex": "c|d"}, r"(?:c|d)|(?:b)"),
    ],
)
def test_neither_this_nor_that_is_one_expression(theirs: dict[str, str], regex: str) -> None:
    assert merged({"withoutHeaders": {"tracestate": theirs}}, OURS)["withoutHeaders"] == {
        "tracestate": {"regex": regex}
    }


@pytest.mark.parametrize("theirs", [{}, {"regex": "*"}, None])
def test_absence_and_ours_cannot_be_said(theirs: dict[str, str] | None) -> None:
    """istiod makes "the header is absent" of these."""
    with pytest.raises(MatchConflict, match="absence"):
        merged({"withoutHeaders": {"tracestate": theirs}}, OURS)


def test_a_union_may_become_too_long() -> None:
    with pytest.raises(MatchTooLong):
        merged({"withoutHeaders": {"tracestate": {"regex": "c" * 1020}}}, OURS)


def test_minimum_release() -> None:
    """The first with treat_missing_header_as_empty: see the module's sources."""
    assert istio.MINIMUM_ISTIO == "1.22.0"
