"""Which form of the hot path runs: compiled only where it was made from these very sources."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from proxy import compiled

ROOT = Path(compiled.__file__).parent.parent
IS_BUILT = (
    compiled.FOLDER / f"{compiled.GROUP}__mypyc{EXTENSION_SUFFIXES[0]}"
).exists() and compiled.DIGEST_FILE.read_text() == compiled.sources_digest()

_PROBE = """
import json, sys
import proxy
from proxy import exchange
from proxy.net import downstream
print(json.dumps([proxy.compiled.IS_USED, exchange.__file__, downstream.__file__]))
"""


def forms(root: Path, plain: str | None = None) -> tuple[bool, bool, bool]:
    """(is said to be used, exchange is compiled, downstream is compiled) in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "POINTSMAN_PURE_PYTHON"}
    if plain is not None:
        environment["POINTSMAN_PURE_PYTHON"] = plain
    run = subprocess.run(
        [sys.executable, "-c", _PROBE], cwd=root, env=environment, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    used, *files = json.loads(run.stdout)
    return (used, *(not file.endswith(".py") for file in files))  # type: ignore[return-value]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "proxy", tmp_path / "proxy", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def digest(copy: Path) -> str:
    code = "from proxy import compiled; print(compiled.sources_digest())"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=copy, capture_output=True, text=True, timeout=60, check=True
    ).stdout.strip()


def test_every_module_exists_as_a_source() -> None:
    assert [name for name in compiled.MODULES if not (ROOT / f"{name.replace('.', '/')}.py").exists()] == []


def test_the_digest_changes_with_any_source(copy: Path) -> None:
    before = digest(copy)
    assert before == compiled.sources_digest()
    source = copy / "proxy" / "routing" / "table.py"
    source.write_text(source.read_text() + "# changed\n")
    changed = digest(copy)
    assert changed != before
    source.rename(source.with_name("table2.py"))
    assert digest(copy) not in (before, changed)


def test_without_compiled_forms_the_sources_run(copy: Path) -> None:
    shutil.rmtree(copy / "proxy" / "_compiled", ignore_errors=True)
    assert forms(copy) == (False, False, False)


@pytest.mark.skipif(not IS_BUILT, reason="no compiled modules of these sources (make compile; needs a C compiler)")
class TestBuilt:
    def test_fresh_ones_are_used(self, copy: Path) -> None:
        (copy / "proxy" / "_compiled" / "sources.digest").write_text(compiled.sources_digest())
        assert forms(copy) == (True, True, True)

    def test_stale_ones_are_not(self, copy: Path) -> None:
        (copy / "proxy" / "_compiled" / "sources.digest").write_text(compiled.sources_digest())
        source = copy / "proxy" / "exchange.py"
        source.write_text(source.read_text() + "# changed\n")
        assert forms(copy) == (False, False, False)

    def test_the_switch(self, copy: Path) -> None:
        (copy / "proxy" / "_compiled" / "sources.digest").write_text(compiled.sources_digest())
        assert forms(copy, "1") == (False, False, False)
        assert forms(copy, "0") == (True, True, True)
        assert forms(copy, "") == (True, True, True)
