from __future__ import annotations

import pytest

from proxy.routing.key import NO_READING, KeyReader, KeyReading, KeySettings

READER = KeyReader(KeySettings())
PLAIN = KeyReader(KeySettings(headers=(b"ot-baggage-sd-routing-key", b"x-key")))

NONE = "no key"
INVALID = "invalid"

# SPEC 3, row by row: baggage lines, tracestate lines -> the key (or NONE, INVALID), flags: a(mbiguous) s(trict).
CASES: list[tuple[str, list[bytes], list[bytes], bytes | str, str]] = [
    ("nothing", [], [], NONE, ""),
    ("empty lines", [b"", b" , "], [b""], NONE, ""),
    ("other members", [b"userId=alice,isProduction=false"], [b"rojo=1"], NONE, ""),
    ("baggage", [b"sd-routing-key=abc"], [], b"abc", ""),
    ("among others", [b"a=1,sd-routing-key=abc,b=2"], [], b"abc", ""),
    ("second name", [b"a=1,sd-sandbox=abc"], [], b"abc", ""),
    ("tracestate", [], [b"rojo=1,sd-routing-key=abc"], b"abc", ""),
    ("tracestate, second name", [], [b"sd-sandbox=abc"], b"abc", ""),
    # precedence
    ("baggage before tracestate", [b"sd-routing-key=b"], [b"sd-routing-key=t"], b"b", ""),
    ("a later name in baggage before tracestate", [b"sd-sandbox=b"], [b"sd-routing-key=t"], b"b", ""),
    ("the earlier name wins wherever it stands", [b"sd-sandbox=s,sd-routing-key=r"], [], b"r", ""),
    ("in tracestate too", [], [b"sd-sandbox=s,sd-routing-key=r"], b"r", ""),
    # repeated names
    ("baggage: the last", [b"sd-routing-key=a,sd-routing-key=b"], [], b"b", "a"),
    ("baggage: the last over lines", [b"sd-routing-key=a", b"sd-routing-key=b"], [], b"b", "a"),
    ("tracestate: the first", [], [b"sd-routing-key=a,sd-routing-key=b"], b"a", "a"),
    ("tracestate: the first over lines", [], [b"x=1", b"sd-routing-key=a", b"sd-routing-key=b"], b"a", "a"),
    ("the same twice", [b"sd-routing-key=a,sd-routing-key=a"], [], b"a", ""),
    ("the same after processing", [b"sd-routing-key=%61,sd-routing-key=a+;p=1"], [], b"a", ""),
    ("three, two alike", [b"sd-routing-key=a,sd-routing-key=b,sd-routing-key=a"], [], b"a", "a"),
    ("last is no key", [b"sd-routing-key=a,sd-routing-key=%zz"], [], INVALID, "a"),
    ("first is no key", [b"sd-routing-key=,sd-routing-key=a"], [], b"a", "a"),
    ("different names are not ambiguous", [b"sd-routing-key=a,sd-sandbox=b"], [], b"a", ""),
    ("different headers are not ambiguous", [b"sd-routing-key=a"], [b"sd-routing-key=b"], b"a", ""),
    ("a broken one is not there", [b'sd-routing-key=a,sd-routing-key="b"'], [], b"a", ""),
    ("a name without '=' is not there", [b"sd-routing-key=a,sd-routing-key"], [], b"a", ""),
    # the first name found decides, no falling through
    ("empty value", [b"sd-routing-key=,sd-sandbox=a"], [b"sd-routing-key=b"], INVALID, ""),
    ("bad percent", [b"sd-routing-key=%zz"], [b"sd-routing-key=b"], INVALID, ""),
    ("too long", [b"sd-routing-key=" + b"a" * 64], [], INVALID, ""),
    ("longest", [b"sd-routing-key=" + b"a" * 63], [], b"a" * 63, ""),
    ("last character", [b"sd-routing-key=a-"], [], INVALID, ""),
    ("inner plus", [b"sd-routing-key=a+b"], [], INVALID, ""),
    ("decoded control", [b"sd-routing-key=a%0d%0ax"], [], INVALID, ""),
    ("decoded NUL", [b"sd-routing-key=a%00"], [], INVALID, ""),
    ("decoded traversal", [b"sd-routing-key=..%2f..%2fetc"], [], INVALID, ""),
    ("decoded no-break space", [b"sd-routing-key=a%a0"], [], INVALID, ""),
    ("'=' in the value", [b"sd-routing-key=a=b"], [], INVALID, ""),
    # whitespace, properties, decoding
    ("whitespace everywhere", [b"a=1 ,\tsd-routing-key\t =  abc \t; p=1 , b=2"], [], b"abc", ""),
    ("whitespace at both ends", [b" sd-routing-key=abc "], [], b"abc", ""),
    ("property", [b"sd-routing-key=abc;p=1"], [], b"abc", ""),
    ("encoded key", [b"sd-routing-key=%61%62c"], [], b"abc", ""),
    ("OpenTelemetry Python's property", [b"sd-routing-key=abc%3Bp%3D1"], [], b"abc", ""),
    ("and with a space before it", [b"sd-routing-key=abc+%3Bp%3D1"], [], b"abc", ""),
    ("key in a property", [b"other=1;sd-routing-key=abc"], [], NONE, ""),
    ("key in a value", [b"other=sd-routing-key=abc"], [], NONE, ""),
    # names match exactly
    ("prefix", [b"x-sd-routing-key=abc"], [b"x-sd-routing-key=abc"], NONE, ""),
    ("suffix", [b"sd-routing-key-x=abc,sd-routing-keyx=abc"], [b"sd-routing-key@s=abc"], NONE, ""),
    ("case", [b"SD-Routing-Key=abc"], [b"SD-ROUTING-KEY=abc"], NONE, ""),
    ("encoded name", [b"sd%2Drouting-key=abc"], [], NONE, ""),
    ("a word before the name", [b"x sd-routing-key=abc"], [b"x sd-routing-key=abc"], NONE, ""),
    ("no-break space round the name", [b"\xa0sd-routing-key=abc,sd-routing-key\x85=abc"], [], NONE, ""),
    ("near miss, then the name", [b"x-sd-routing-key=x,sd-routing-key=abc"], [], b"abc", ""),
    # broken members: skipped alone, as if they were not there
    ("quotes", [b'sd-routing-key="abc"'], [b"sd-routing-key=t"], b"t", ""),
    ("inner space", [b"sd-routing-key=a b,sd-sandbox=s"], [], b"s", ""),
    ("backslash", [b"sd-routing-key=a\\b"], [], NONE, ""),
    ("non-ASCII", [b"sd-routing-key=\xc3\xa4"], [], NONE, ""),
    ("the trap of strip()", [b"sd-routing-key=abc\x85", b"sd-routing-key=abc\xa0"], [], NONE, ""),
    ("control", [b"sd-routing-key=abc\x0b"], [], NONE, ""),
    ("no '='", [b"sd-routing-key"], [b"sd-routing-key"], NONE, ""),
    # tracestate is raw
    ("tracestate: not decoded", [], [b"sd-routing-key=%61bc"], INVALID, ""),
    ("tracestate: not cut", [], [b"sd-routing-key=abc;p=1"], INVALID, ""),
    ("tracestate: space after '='", [], [b"sd-routing-key= abc"], INVALID, ""),
    ("tracestate: space before '='", [], [b"sd-routing-key =abc"], NONE, ""),
    ("tracestate: members are trimmed", [], [b"a=1 ,\tsd-routing-key=abc\t , b=2"], b"abc", ""),
    ("tracestate: differing raw", [], [b"sd-routing-key=a,sd-routing-key=%61"], b"a", "a"),
    # strict
    ("strict", [b"sd-strict=1,sd-routing-key=a"], [], b"a", "s"),
    ("strict without key", [b"sd-strict=1"], [], NONE, "s"),
    ("strict in tracestate", [b"sd-routing-key=a"], [b"sd-strict=1"], b"a", "s"),
    ("strict: any value", [b"sd-strict=false"], [], NONE, "s"),
    ("strict: not 0", [b"sd-strict=0"], [b"sd-strict=0"], NONE, ""),
    ("strict: not empty", [b"sd-strict="], [b"sd-strict="], NONE, ""),
    ("strict: 0 after processing", [b"sd-strict=%30;p"], [], NONE, ""),
    ("strict: any occurrence", [b"sd-strict=1,sd-strict=0"], [], NONE, "s"),
    ("strict: any header", [b"sd-strict=0"], [b"sd-strict=1"], NONE, "s"),
    ("strict: tracestate is raw", [], [b"sd-strict=%30"], NONE, "s"),
    ("strict: broken", [b'sd-strict="1",sd-strict,x-sd-strict=1'], [b"sd-strict"], NONE, ""),
    ("strict, invalid, ambiguous", [b"sd-strict=1,sd-routing-key=a,sd-routing-key="], [], INVALID, "as"),
]


def described(reading: KeyReading) -> tuple[bytes | str, str]:
    key = reading.key if reading.key is not None else INVALID if reading.invalid else NONE
    assert reading.key is None or not reading.invalid
    return key, "a" * reading.ambiguous + "s" * reading.strict


@pytest.mark.parametrize(("baggage", "tracestate", "key", "flags"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_reading(baggage: list[bytes], tracestate: list[bytes], key: bytes | str, flags: str) -> None:
    assert described(READER.read(baggage, tracestate, ())) == (key, flags)
    assert described(PLAIN.read(baggage, tracestate, [])) == (key, flags)


@pytest.mark.parametrize(("baggage", "tracestate", "key", "flags"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_lines_are_one_list(baggage: list[bytes], tracestate: list[bytes], key: bytes | str, flags: str) -> None:
    def split(lines: list[bytes]) -> list[bytes]:
        return [member for line in lines for member in line.split(b",")]

    assert described(READER.read(split(baggage), split(tracestate), ())) == (key, flags)
    assert described(READER.read([b",".join(baggage)], [b",".join(tracestate)], ())) == (key, flags)


KEY, OT = b"x-key", b"ot-baggage-sd-routing-key"
PLAIN_CASES: list[tuple[str, list[tuple[bytes, bytes]], bytes | str, str | None]] = [
    ("one", [(KEY, b"abc")], b"abc", "x-key"),
    ("never decoded", [(KEY, b"%61bc")], INVALID, "x-key"),
    ("never cut", [(KEY, b"abc;p=1")], INVALID, "x-key"),
    ("never a list", [(KEY, b"abc, abc")], INVALID, "x-key"),
    ("empty", [(KEY, b"")], INVALID, "x-key"),
    ("the settings' order, not arrival's", [(KEY, b"k"), (OT, b"o")], b"o", "ot-baggage-sd-routing-key"),
    ("no falling through", [(KEY, b"k"), (OT, b"")], INVALID, "ot-baggage-sd-routing-key"),
    ("twice the same", [(KEY, b"k"), (KEY, b"k")], b"k", "x-key"),
    ("two different", [(KEY, b"k"), (KEY, b"l")], INVALID, "x-key"),
    ("another header", [(b"x-other", b"k")], NONE, None),
]


@pytest.mark.parametrize(("fields", "key", "header"), [c[1:] for c in PLAIN_CASES], ids=[c[0] for c in PLAIN_CASES])
def test_plain_headers(fields: list[tuple[bytes, bytes]], key: bytes | str, header: str | None) -> None:
    reading = PLAIN.read([b"userId=alice"], [], fields)
    assert described(reading) == (key, "")
    assert reading.header == header
    assert reading.name is None


def test_plain_headers_come_last() -> None:
    assert PLAIN.read([b"sd-sandbox=b"], [], [(KEY, b"k")]).key == b"b"
    assert PLAIN.read([], [b"sd-sandbox=t"], [(KEY, b"k")]).key == b"t"
    assert PLAIN.read([b"sd-sandbox="], [], [(KEY, b"k")]).invalid
    assert PLAIN.read([b'sd-sandbox="b"'], [], [(KEY, b"k")]).key == b"k"
    reading = PLAIN.read([b"sd-strict=1"], [], [(KEY, b"k")])
    assert (reading.key, reading.strict) == (b"k", True)


@pytest.mark.parametrize(
    ("baggage", "tracestate", "decided_by"),
    [
        ([b"sd-routing-key=a;p"], [], ("baggage", b"sd-routing-key", b"a")),
        ([b"sd-routing-key=%61"], [], ("baggage", b"sd-routing-key", b"%61")),
        ([b"sd-sandbox=%zz"], [], ("baggage", b"sd-sandbox", b"%zz")),
        ([], [b"sd-sandbox=b"], ("tracestate", b"sd-sandbox", b"b")),
        ([], [], (None, None, None)),
    ],
)
def test_what_decided(baggage: list[bytes], tracestate: list[bytes], decided_by: tuple[object, ...]) -> None:
    reading = READER.read(baggage, tracestate)
    assert (reading.header, reading.name, reading.value) == decided_by


def test_untagged_requests_share_one_reading() -> None:
    assert READER.read([b"a=1"], [b"b=2"]) is NO_READING
    assert READER.read([b"x-sd-routing-key=1"], []) is NO_READING


def test_own_names_replace_the_defaults() -> None:
    reader = KeyReader(KeySettings(names=(b"okteto-divert", b"tenant")))
    assert reader.read([b"sd-routing-key=a"], []).key is None
    assert reader.read([b"tenant=t,okteto-divert=o"], []).key == b"o"
    assert reader.read([], [b"a=1,tenant=t"]).key == b"t"
    assert reader.read([b"sd-strict=1"], []).strict


def test_names_that_hold_each_other() -> None:
    reader = KeyReader(KeySettings(names=(b"k", b"kk", b"k.k")))
    assert reader.read([b"kk=2,k.k=3"], []).key == b"2"
    assert reader.read([b"kk=2,k=1,k.k=3"], []).key == b"1"
    assert reader.read([b"kkk=2,kxk=1,k.k=3"], []).key == b"3"


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"names": ()}, "at least one"),
        ({"names": (b"a b",)}, "must be a token, is 'a b'"),
        ({"names": (b"",)}, "must be a token"),
        ({"names": (b"a", b"a")}, "stands twice"),
        ({"names": (b"sd-strict",)}, "has a meaning of its own"),
        ({"headers": (b"X-Key",)}, "in lowercase"),
        ({"headers": (b"x key",)}, "must be a token"),
        ({"headers": (b"x-key", b"x-key")}, "stands twice"),
        ({"headers": (b"baggage",)}, "read for its members"),
    ],
)
def test_settings_faults(settings: dict[str, tuple[bytes, ...]], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        KeySettings(**settings)
