from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pointsman.__main__ import COMMAND_WORDS, main
from pointsman.cli.completion import SCRIPTS, following


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([""], list(COMMAND_WORDS)),
        (["s"], ["sandbox"]),
        (["sandbox", ""], ["apply", "list", "get", "delete", "wait", "traffic", "verify"]),
        (["routegroup", "de"], ["delete"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["sandbox", "apply", "--d"], ["--dry-run", "--diff"]),
        (["sandbox", "list", "--out"], ["--output"]),
        (["sandbox", "list", "--output", ""], ["table", "json"]),
        (["sandbox", "list", "-o", "j"], ["json"]),
        (["sandbox", "apply", "-f", ""], []),
        (["sandbox", "apply", ""], []),
        (["explain", "--wo"], ["--workload"]),
        (["nothing", ""], []),
    ],
)
def test_words(words: list[str], expected: list[str]) -> None:
    assert list(following(words)) == expected


def test_without_a_controller_there_are_no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POINTSMAN_CONTROLLER", "http://127.0.0.1:1")
    assert list(following(["sandbox", "get", ""])) == []
    assert list(following(["sandbox", "get", "--namespace", ""])) == []
    assert list(following(["sandbox", "get", "--controller", ""])) == []


@pytest.mark.parametrize("argv", [[], ["tcsh"], ["bash", "zsh"]])
def test_other_shells(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", *argv]) == 2
    assert capsys.readouterr().err == "pointsman completion: needs one of bash, zsh, fish\n"


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "--help"]) == 0
    assert "source <(pointsman completion bash)" in capsys.readouterr().out


# What each shell is told to complete `pointsman sandbox apply --d` and to print what it found.
_TRIALS = {
    "bash": 'COMP_WORDS=(pointsman sandbox apply --d); COMP_CWORD=3; _pointsman; printf "%s\\n" "${COMPREPLY[@]}"',
    "zsh": 'compadd() { shift; print -l -- "$@"; }; words=(pointsman sandbox apply --d); CURRENT=4; _pointsman',
    "fish": 'complete --do-complete "pointsman sandbox apply --d"',
}


@pytest.mark.parametrize("shell", SCRIPTS)
def test_in_the_shell_itself(shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    assert main(["completion", shell]) == 0
    before = "compdef() { :; }; " if shell == "zsh" else ""
    script = f"{before}{capsys.readouterr().out}\n{_TRIALS[shell]}\n"
    program = tmp_path / "pointsman"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m pointsman "$@"\n')
    program.chmod(0o755)
    environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    found = subprocess.run([shell], input=script, capture_output=True, text=True, timeout=60, env=environ)
    assert sorted(found.stdout.split()) == ["--diff", "--dry-run"], found.stderr
