"""The conditions under which a request carries a routing key, as an Istio HTTPMatchRequest can say them.

Forms:

- `strict` decides as the proxy does (SPEC 3), on well-formed members, several lines, up to 8192 bytes, for values that
  are not percent-encoded. `baggage` before `tracestate` is said by `withoutHeaders`.
- `signadot` is the loose form of SPEC 8, byte for byte.

A match is a tuple of alternatives (OR); each becomes a match block of its own, or is ANDed into the owner's (`merged`).
At most one alternative of all keys' matches a request. manifests/istio/LIMITS.md lists what this can't say.

Cost: Envoy tries a rule's expressions for each request that the rules before did not match. What counts is less how
long they are than how many: a thousand do not stay in a core's cache. So there is one for each header, with all names
of the key, as long as Istio takes it.

Sources. Envoy matches regexes against whole values (source/common/common/regex.h). Before 1.39.0 it joined a header's
lines with "," first; since, a matcher finds one if any line does, and `withoutHeaders` fails if any line matches
(changelogs/1.39.0.yaml, `match_headers_individually`; measured with 1.40). RE2 read UTF-8 and found nothing in other
bytes, until the fixes of CVE-2026-73552 (`re2_use_latin1_mode`). `withoutHeaders` is a matcher with invert_match; since
1.22.0 istiod also sets treat_missing_header_as_empty, before that a request without the header never matched
(istio/istio, pilot/pkg/networking/core/route/route.go `TranslateRouteMatch`; releasenotes/notes/49537.yaml). istiod
refuses regexes over 1024 characters (pkg/config/validation/validation.go `validateStringRegexp`); it programs proxies
with re2.max_program_size.error_level 32768 (pkg/bootstrap/config.go), which no regex of 1024 characters made here
reaches: a test measures their programs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from controller.istio import patterns
from proxy.routing.key import DEFAULT_NAMES, STRICT_NAME
from proxy.routing.names import Workload

MINIMUM_ISTIO: Final = "1.22.0"
MAX_REGEX: Final = 1024  # characters
MAX_PROGRAM_SIZE: Final = 32768  # instructions of RE2
NAMES: Final = tuple(name.decode("ascii") for name in DEFAULT_NAMES)

Form = Literal["strict", "signadot"]
FORMS: Final[tuple[Form, ...]] = ("strict", "signadot")

_MAX_NAME: Final = 256  # a strict expression takes 11 characters for each of a name's: a longer one fits nowhere

StringMatch = Mapping[str, str]

_HOP: Final = "pointsman-hop"
_STRICT: Final = STRICT_NAME.decode("ascii")
# Matches every value that RE2 can read: all, or only UTF-8 (see CVE-2026-73552 above).
_READABLE: Final = {"regex": ".*"}


class MatchTooLong(ValueError):
    """A regex that Istio would refuse."""


class MatchConflict(ValueError):
    """The owner's block matches on the same header, and Istio allows one StringMatch for each."""


@dataclass(frozen=True, slots=True)
class HeaderMatch:
    """One alternative: all `headers` match and none of `without_headers` does. Names are lowercase."""

    headers: Mapping[str, StringMatch] = field(default_factory=dict)
    without_headers: Mapping[str, StringMatch] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As a match block of its own."""
        return merged({}, self)


def key_matches(key: str, form: str = "strict", names: Sequence[str] = NAMES) -> tuple[HeaderMatch, ...]:
    """What says that a request's key is this one.

    Raises: MatchTooLong (names of some hundred characters), ValueError for an unknown form.
    """
    _check(form, names)
    if form == "signadot":
        regex = _regex(patterns.loose(names, key))
        return (HeaderMatch({"baggage": regex}), HeaderMatch({"tracestate": regex}))
    return (*_in_baggage(names, key), *_in_tracestate(names, key))


def any_key_matches(workload: Workload, names: Sequence[str] = NAMES) -> tuple[HeaderMatch, ...]:
    """What says that a request belongs to a router: it may carry a key, or is strict, and did not come from a router
    that decided for this workload. The same for all keys.

    It takes more than carries a key (a broken member, `sd-strict=0`, a header that RE2 can't read), never less: the
    router decides, and what it were not asked for would be a false green. A strict request without a key is its too.
    """
    without = {_HOP: _regex(patterns.hop(str(workload)))}
    carries = _regex(patterns.carries((*names, _STRICT)))
    return (
        HeaderMatch({"baggage": carries}, without),
        HeaderMatch({"tracestate": carries}, without),
        HeaderMatch({}, {"baggage": _READABLE, **without}),
        HeaderMatch({}, {**without, "tracestate": _READABLE}),
    )


@dataclass(frozen=True, slots=True)
class GatewayMatches:
    """The same for the Gateway API, whose HTTPHeaderMatch knows no "without" (HTTPRouteMatch; regular expressions are
    implementation-specific, a header counts once, a value has at most 4096 characters).

    `baggage` and `tracestate` are alternatives of one header each. That baggage comes first can only be said by order:
    rules for the `baggage` matches of all keys, then a rule for `guard` that leads to the baseline, then rules for the
    `tracestate` matches. All have one header match, so among rules of equal path and method the first wins. Without the
    guard, a request whose baggage names a key that is not forked here, and whose tracestate names one that is, goes to
    the latter.
    """

    baggage: tuple[dict[str, Any], ...]
    guard: tuple[dict[str, Any], ...]
    tracestate: tuple[dict[str, Any], ...]


MAX_GATEWAY_VALUE: Final = 4096


def gateway_key_matches(key: str, form: str = "strict", names: Sequence[str] = NAMES) -> GatewayMatches:
    """The HTTPRouteMatches (GRPCRouteMatches) that say that a request's key is this one.

    Raises: MatchTooLong, ValueError for an unknown form.
    """
    _check(form, names)
    if form == "signadot":
        loose = patterns.loose(names, key)
        return GatewayMatches((_gateway("baggage", loose),), (), (_gateway("tracestate", loose),))
    return GatewayMatches(
        (_gateway("baggage", patterns.baggage_key(names, key)),),
        (_gateway("baggage", patterns.baggage_names(names)),),
        (_gateway("tracestate", patterns.tracestate_key(names, key)),),
    )


def gateway_any_key_matches(names: Sequence[str] = NAMES) -> tuple[dict[str, Any], ...]:
    """What says that a request belongs to a router. Nothing here can say "and does not come from one": the router must
    reach the baseline by another name, or by a Service that the route is not attached to."""
    carries = patterns.carries((*names, _STRICT))
    return (_gateway("baggage", carries), _gateway("tracestate", carries))


def merged(block: Mapping[str, Any], match: HeaderMatch) -> dict[str, Any]:
    """The owner's match block with the match ANDed in; the block is left as it is.

    Two conditions under `withoutHeaders` on one header become one (neither this nor that); two under `headers` can't.

    Raises: MatchConflict, MatchTooLong.
    """
    result = dict(block)
    if match.headers:
        headers = dict(block.get("headers") or {})
        for name, condition in match.headers.items():
            if (theirs := _spelling(headers, name)) is not None and headers[theirs] != condition:
                raise MatchConflict(f"it matches on the header {theirs} itself")
            headers[theirs or name] = dict(condition)
        result["headers"] = headers
    if match.without_headers:
        without = dict(block.get("withoutHeaders") or {})
        for name, condition in match.without_headers.items():
            theirs = _spelling(without, name)
            if theirs is None or without[theirs] == condition:
                without[theirs or name] = dict(condition)
            else:
                without[theirs] = _either(theirs, without[theirs], condition)
        result["withoutHeaders"] = without
    return result


def _check(form: str, names: Sequence[str]) -> None:
    if form not in FORMS:
        raise ValueError(f"the form of a match is one of {', '.join(FORMS)}")
    for name in names:
        if len(name) > _MAX_NAME:
            raise MatchTooLong(f"a key name of {len(name)} characters; {_MAX_NAME} are the most here")


def _in_baggage(names: Sequence[str], key: str) -> list[HeaderMatch]:
    whole = patterns.baggage_key(names, key)
    if len(whole) <= MAX_REGEX:
        return [HeaderMatch({"baggage": {"regex": whole}})]
    # One for each name, where the names before it are not there: shorter, but more of them to try.
    return [
        HeaderMatch(
            {"baggage": _regex(patterns.baggage_last(name, key))},
            {"baggage": _regex(patterns.baggage_names(names[:index]))} if index else {},
        )
        for index, name in enumerate(names)
    ]


def _in_tracestate(names: Sequence[str], key: str) -> list[HeaderMatch]:
    not_in_baggage = {"baggage": _regex(patterns.baggage_names(names))}
    whole = patterns.tracestate_key(names, key)
    if len(whole) <= MAX_REGEX:
        return [HeaderMatch({"tracestate": {"regex": whole}}, not_in_baggage)]
    return [
        HeaderMatch(
            {"tracestate": _regex(patterns.tracestate_first(name, key))},
            not_in_baggage | ({"tracestate": _regex(patterns.tracestate_names(names[:index]))} if index else {}),
        )
        for index, name in enumerate(names)
    ]


def _regex(text: str) -> dict[str, str]:
    if len(text) > MAX_REGEX:
        raise MatchTooLong(f"a regular expression of {len(text)} characters; Istio takes {MAX_REGEX}")
    return {"regex": text}


def _gateway(header: str, regex: str) -> dict[str, Any]:
    if len(regex) > MAX_GATEWAY_VALUE:
        raise MatchTooLong(
            f"a regular expression of {len(regex)} characters; the Gateway API takes {MAX_GATEWAY_VALUE}"
        )
    return {"headers": [{"type": "RegularExpression", "name": header, "value": regex}]}


def _spelling(headers: Mapping[str, Any], name: str) -> str | None:
    """How the owner wrote the header's name, if it is there."""
    return next((written for written in headers if written.lower() == name), None)


def _either(name: str, theirs: Any, ours: StringMatch) -> dict[str, str]:
    """A value that one of both matches."""
    match dict(theirs or {}):
        case {"exact": str(text)}:
            regex = patterns.literal(text)
        case {"prefix": str(text)}:
            regex = patterns.literal(text) + ".*"
        case {"regex": str(text)} if text != "*":  # istiod makes "the header is there" of a lone star
            regex = text
        case _:
            raise MatchConflict(f"it matches on the absence of the header {name} itself")
    return _regex(f"(?:{regex})|(?:{ours['regex']})")
