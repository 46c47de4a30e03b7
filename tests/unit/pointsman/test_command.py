from __future__ import annotations

import pytest

from pointsman.cli.command import Command, Line, help_text, read_line
from pointsman.cli.commands import COMMANDS
from pointsman.cli.exits import TEXTS
from pointsman.cli.flags import CONTROLLER, FILE, NAMESPACE, OUTPUT, SINCE, TIMEOUT, WAIT


def command(*words: str) -> Command:
    return next(row for row in COMMANDS if row.words == words)


def read(words: tuple[str, ...], *argv: str, environ: dict[str, str] | None = None) -> Line:
    line, faults = read_line(command(*words), argv, environ or {})
    assert faults == []
    return line


APPLY = ("sandbox", "apply")


class TestLine:
    def test_defaults(self) -> None:
        line = read(APPLY, "-f", "a.yaml")
        assert line.argument == ""
        assert line.values.present(FILE) == ("a.yaml",)
        assert line.values.one(CONTROLLER) == "http://127.0.0.1:16030"
        assert line.values.one(TIMEOUT) == 60.0
        assert line.values.one(WAIT) is False
        assert line.values.present(NAMESPACE) == ()

    @pytest.mark.parametrize(
        "argv",
        [
            ("-f", "-", "--wait", "-n", "hotrod", "-o", "json"),
            ("--file", "-", "--namespace=hotrod", "--output=json", "--wait"),
            ("-f=-", "-o=json", "--wait=true", "-n=hotrod"),
        ],
    )
    def test_short_and_long(self, argv: tuple[str, ...]) -> None:
        values = read(APPLY, *argv).values
        assert values.present(FILE) == ("-",)
        assert values.one(WAIT) is True
        assert values.one(NAMESPACE) == "hotrod"
        assert values.one(OUTPUT) == "json"

    def test_several_files(self) -> None:
        assert read(APPLY, "-f", "a", "-f", "b").values.present(FILE) == ("a", "b")

    @pytest.mark.parametrize(
        "argv", [("pr-1", "--since", "5m"), ("--since", "5m", "pr-1"), ("--since=5m", "--", "pr-1")]
    )
    def test_argument_anywhere(self, argv: tuple[str, ...]) -> None:
        line = read(("sandbox", "verify"), *argv)
        assert (line.argument, line.values.one(SINCE)) == ("pr-1", "5m")

    def test_variables(self) -> None:
        environ = {
            "POINTSMAN_CONTROLLER": "https://c.example",
            "POINTSMAN_NAMESPACE": "hotrod",
            "POINTSMAN_FILE": "a,b",
        }
        values = read(APPLY, environ=environ).values
        assert values.one(CONTROLLER) == "https://c.example"
        assert values.present(FILE) == ("a", "b")
        assert values.origin(NAMESPACE) == "POINTSMAN_NAMESPACE"
        assert read(APPLY, "-f", "c", "-n", "x", environ=environ).values.origin(NAMESPACE) == "--namespace"

    @pytest.mark.parametrize(
        ("words", "argv", "expected"),
        [
            (APPLY, (), ["--file (or POINTSMAN_FILE) is required"]),
            (APPLY, ("-f",), ["--file: needs a value, FILE"]),
            (APPLY, ("-f", "a", "b"), ["unexpected argument 'b'"]),
            (APPLY, ("-f", "a", "-x"), ["unknown flag '-x'"]),
            (APPLY, ("-f", "a", "--wiat"), ["unknown flag '--wiat' (did you mean --wait?)"]),
            (APPLY, ("-f", "a", "-l", "pr=1"), ["unexpected argument 'pr=1'", "unknown flag '-l'"]),
            (("sandbox", "get"), (), ["NAME is missing"]),
            (("sandbox", "get"), ("a", "b"), ["unexpected argument 'b'"]),
            (("sandbox", "verify"), ("a",), ["--since (or POINTSMAN_SINCE) is required"]),
            (("sandbox", "wait"), ("a", "--timeout", "1d", "-o", "yaml"), ["--timeout: must be", "--output: must be"]),
        ],
    )
    def test_faults(self, words: tuple[str, ...], argv: tuple[str, ...], expected: list[str]) -> None:
        _, faults = read_line(command(*words), argv, {})
        assert len(faults) == len(expected)
        for start in expected:
            assert any(fault.startswith(start) for fault in faults), faults


class TestRows:
    def test_no_name_stands_twice(self) -> None:
        assert len({row.words for row in COMMANDS}) == len(COMMANDS)
        for row in COMMANDS:
            assert len({option.name for option in row.options}) == len(row.options)

    @pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row.name)
    def test_help(self, row: Command) -> None:
        text = help_text(row)
        assert text.startswith(f"usage: pointsman {row.name}")
        assert all(f"  {option.flag}" in text for option in row.options)
        assert all(f"  {code}  {meaning}\n" in text for code, meaning in TEXTS.items())
        assert max(map(len, text.splitlines())) <= 120

    @pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row.name)
    def test_what_runs_them_is_there(self, row: Command) -> None:
        from pointsman.cli.run import _runner

        assert callable(_runner(row))
