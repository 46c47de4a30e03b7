from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest

from proxy.routing import text
from proxy.routing.text import MAX_DEPTH, TableError, parse_text


def fault_of(data: bytes) -> str:
    with pytest.raises(TableError) as caught:
        parse_text(data)
    (fault,) = caught.value.faults
    assert fault.isascii()
    assert "\n" not in fault
    assert len(fault) < 200
    return fault


# --- scalars: YAML 1.2 core schema, section 10.3.2 ---

SCALARS: list[tuple[str, object]] = [
    ("abc", "abc"),
    ("a b", "a b"),
    ("null", None),
    ("Null", None),
    ("NULL", None),
    ("~", None),
    ("", None),
    ("true", True),
    ("True", True),
    ("TRUE", True),
    ("false", False),
    ("False", False),
    ("FALSE", False),
    ("yes", "yes"),  # booleans of YAML 1.1
    ("no", "no"),
    ("on", "on"),
    ("y", "y"),
    ("tRUE", "tRUE"),
    ("0", 0),
    ("8081", 8081),
    ("-1", -1),
    ("+1", 1),
    ("010", 10),  # octal in YAML 1.1
    ("0o17", 15),
    ("0x1F", 31),
    ("1_000", "1_000"),  # a number in YAML 1.1
    ("1:30", "1:30"),  # sexagesimal in YAML 1.1
    ("0b1", "0b1"),
    ("0x", "0x"),
    ("0o8", "0o8"),
    ("1.5", 1.5),
    (".5", 0.5),
    ("1.", 1.0),
    ("1e5", 1e5),
    ("12E4", 12e4),
    ("-.inf", -math.inf),
    (".INF", math.inf),
    ("1e", "1e"),
    ("1.2.3", "1.2.3"),
    ("2001-01-01", "2001-01-01"),  # a date in YAML 1.1
    (".", "."),
    ("-", [None]),
    ("'8081'", "8081"),
    ('"true"', "true"),
    ("'~'", "~"),
    ("''", ""),
    ('"a\\tb"', "a\tb"),
    ("|\n  8081\n", "8081\n"),
    (">-\n  true\n", "true"),
    ("ä", "ä"),
    ("\u0661", "\u0661"),  # a digit, but none of the schema's
]


@pytest.mark.parametrize(("written", "expected"), SCALARS, ids=[repr(written) for written, _ in SCALARS])
def test_yaml_scalars(written: str, expected: object) -> None:
    if "\n" not in written and written != "-":
        if written:
            assert parse_text(f"[x, {written}, y]".encode()) == ["x", expected, "y"]
        assert parse_text(f"key: {written}".encode()) == {"key": expected}
    assert parse_text(f"- {written}".encode()) == [expected]
    (value,) = parse_text(f"- {written}".encode())  # type: ignore[misc]
    assert type(value) is type(expected)


def test_not_a_number() -> None:
    (value,) = parse_text(b"- .nan")  # type: ignore[misc]
    assert math.isnan(value)


# --- structure ---


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a: 1\nb:\n- x\n- {c: [1, 2], d: {}}\n", {"a": 1, "b": ["x", {"c": [1, 2], "d": {}}]}),
        (b"- - 1\n  - 2\n- []\n", [[1, 2], []]),
        (b"'a': 1", {"a": 1}),
        (b"\xef\xbb\xbfa: 1", {"a": 1}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b"---\na: 1\n...\n", {"a": 1}),
        (b"%YAML 1.2\n---\na: 1\n", {"a": 1}),
        (b"# comment\na: 1 # another\r\n", {"a": 1}),
        (b' \n\t {"a": [1, null, true, 1.5, "x"]}\n', {"a": [1, None, True, 1.5, "x"]}),
        (b"a: {}\nb: []\nc:\n", {"a": {}, "b": [], "c": None}),
        (b"x", "x"),
        (b"? a\n: 1", {"a": 1}),
        (b"<<: {a: 1}\nb: 2", {"<<": {"a": 1}, "b": 2}),  # no merging: the schema refuses the field
    ],
)
def test_structure(data: bytes, expected: object) -> None:
    assert parse_text(data) == expected


FAULTS: list[tuple[bytes, str]] = [
    (b"", "is empty"),
    (b" \r\n\t", "is empty"),
    (b"\xef\xbb\xbf", "is empty"),
    (b"# only a comment\n", "is empty: only comments"),
    (b"a: 1\nb: \xff", "line 2 column 4: must be UTF-8, byte 0xff is not"),
    (b'{"a": "\xc3"}', "line 1 column 8: must be UTF-8, byte 0xc3 is not"),
    ("a: 1".encode("utf-16"), "line 1 column 1: must be UTF-8, byte 0xff is not"),
    (b"a: 1\n\0", "line 2 column 1: must be text, holds NUL"),
    (b'{"a": \0}', "line 1 column 7: must be text, holds NUL"),
    # JSON
    (b'{"a": 1,}', "line 1 column 9: not JSON: "),
    (b'{"a": 1}\n{', "line 2 column 1: not JSON: Extra data"),
    (b"{a: 1}", "line 1 column 2: not JSON: "),
    (b'{"a": 1, "b": 2, "a": 3}', "field 'a' stands twice in one object"),
    (b'{"x": [{"a": 1, "a": 1}]}', "field 'a' stands twice in one object"),
    (b'{"a": NaN}', "not JSON: NaN"),
    (b'{"a": -Infinity}', "not JSON: -Infinity"),
    (b'{"a": ' + b"1" * 5000 + b"}", "not JSON: a number with too many digits"),
    (b'{"a": ' * 100_000, "not JSON that is read: nested too deep"),
    (b'{"a": "\n"}', "line 1 column 8: not JSON: "),
    # YAML
    (b"a: 1\nb: 2\na: 3\n", "line 3 column 1: field 'a' stands twice in one object"),
    (b"x:\n- {a: 1, 'a': 2}\n", "line 2 column 10: field 'a' stands twice in one object"),
    (b"a: &x 1\n", "line 1 column 4: anchors are not read"),
    (b"a: &x [1]\nb: *x\n", "line 1 column 4: anchors are not read"),
    (b"a: *x\n", "line 1 column 4: aliases are not read"),
    (b"*x : 1\n", "line 1 column 1: aliases are not read"),
    (b"a: !!str 1\n", "line 1 column 4: tags are not read"),
    (b"a: !!python/object/apply:os.system [x]\n", "line 1 column 4: tags are not read"),
    (b"a: ! 1\n", "line 1 column 4: tags are not read"),
    (b"a: 1\n---\nb: 1\n", "line 2 column 1: must be one document, a second begins"),
    (b"1: a\n", "line 1 column 1: a key must be a string: quote '1'"),
    (b"true: a\n", "line 1 column 1: a key must be a string: quote 'true'"),
    (b"?\n: a\n", "line 1 column 2: a key must be a string: quote ''"),
    (b"? [a]\n: 1\n", "line 1 column 3: a key must be a string"),
    (b"? {a: 1}\n: 1\n", "line 1 column 3: a key must be a string"),
    (b"a: " + b"1" * 41, "line 1 column 4: a number with too many digits: quote it"),
    (b"a: [1\n", "line 2 column 1: not YAML: "),
    (b"a: b: c\n", "line 1 column 5: not YAML: "),
    (b"a: 1\n b: 2\n", "line 2 column 3: not YAML: "),
    (b"a:\n\t- 1\n", "line 2 column 1: not YAML: "),
    (b"a: 'x\n", "line 2 column 1: not YAML: "),
    (b"a: %x\n", "line 1 column 4: not YAML: "),
    (b"a: @x\n", "line 1 column 4: not YAML: "),
    (b"a: \x07\n", "not YAML: "),
    (b"a: \x1b[0m\n", "not YAML: "),
    (b"[" * (MAX_DEPTH + 1), f"line 1 column {MAX_DEPTH + 1}: must be nested at most {MAX_DEPTH} deep"),
    (b"[" * 100_000, "line 1 column 1001: not YAML: "),  # libyaml reads ahead, and has a limit of its own
    (b"- " * 1000, f"line 1 column {2 * MAX_DEPTH + 1}: must be nested at most {MAX_DEPTH} deep"),
]


@pytest.mark.parametrize(("data", "fault"), FAULTS, ids=[repr(data[:30]) for data, _ in FAULTS])
def test_faults(data: bytes, fault: str) -> None:
    found = fault_of(data)
    assert found == fault or (fault.endswith(" ") and found.startswith(fault))


def test_depth_that_is_read() -> None:
    assert parse_text(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)


def test_size_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "MAX_BYTES", 1 << 20)
    assert parse_text(b"a: 1" + b" " * ((1 << 20) - 4)) == {"a": 1}
    assert fault_of(b"a: 1" + b" " * (2 << 20)) == "must be at most 1 MiB, is 2 MiB"


def test_faults_show_little_of_the_input() -> None:
    assert len(fault_of(b'{"' + b"x" * 10**5 + b'": 1, "' + b"x" * 10**5 + b'": 1}')) < 120
    assert len(fault_of(b"x" * 900 + b": 1\n" + b"x" * 900 + b": 1\n")) < 120


def test_the_parser_in_plain_python_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    import yaml

    monkeypatch.delattr(yaml, "CSafeLoader")
    assert parse_text(b"a: [1, 'x', {b: ~}]\n") == {"a": [1, "x", {"b": None}]}
    assert fault_of(b"a: 1\na: 2\n") == "line 2 column 1: field 'a' stands twice in one object"
    assert fault_of(b"a: [1\n").startswith("line 2 column 1: not YAML: ")


def test_json_does_not_import_yaml() -> None:
    code = "import sys; from proxy.routing.text import parse_text; parse_text(b'{}'); sys.exit('yaml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_json_and_yaml_agree() -> None:
    value = {"a": [1, -2, 1.5, None, True, "x", "ä\U0001f600"], "b": {"c": {}}}
    assert parse_text(json.dumps(value).encode()) == value
    assert parse_text(json.dumps([value], ensure_ascii=False).encode()) == [value]  # JSON is YAML
