"""manifests/istio: each rendered file is what its first line's command writes, and SPEC 8's VirtualService is there."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.istio.virtualservices import read_virtual_service
from controller.schema import read_object
from pointsman.__main__ import main
from tests.support.mesh import SPEC_8

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "manifests" / "istio"
RENDERED = sorted((FOLDER / "rendered").glob("*.yaml"))


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for name in (
        "NAMESPACE",
        "OUTPUT",
        "API",
        "ISTIO_MODE",
        "ROUTER",
        "REGEX",
        "OWN",
        "KEY_NAME",
        "FILE",
        "REMOVE",
        "DIFF",
    ):
        monkeypatch.delenv(f"POINTSMAN_{name}", raising=False)


def test_all_are_there() -> None:
    named = {
        line.split("`")[1]
        for line in (ROOT / "manifests" / "README.md").read_text().splitlines()
        if "| `istio/" in line
    }
    assert {str(path.relative_to(ROOT / "manifests")) for path in RENDERED} == {
        name for name in named if name.startswith("istio/rendered/")
    }
    assert all((ROOT / "manifests" / name).exists() for name in named)


@pytest.mark.parametrize("path", RENDERED, ids=lambda path: path.stem)
def test_each_is_what_its_command_writes(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command, _, expected = path.read_text().partition("\n")
    words = shlex.split(command.removeprefix("# "))
    assert words[0] == "pointsman"
    assert main(words[1:]) == 0
    assert capsys.readouterr() == (expected, "")


def test_the_virtual_service_of_spec_8() -> None:
    found: Any = yaml.safe_load((FOLDER / "rendered" / "patch-signadot.yaml").read_text())
    assert found["spec"]["http"][0].pop("name").startswith("pointsman-")
    assert found == yaml.safe_load(SPEC_8)


def test_owners_differ_in_one_route() -> None:
    plain: Any = yaml.safe_load((FOLDER / "owner" / "virtualservice.yaml").read_text())
    delegating: Any = yaml.safe_load((FOLDER / "owner-delegating" / "virtualservice.yaml").read_text())
    assert delegating["spec"]["http"].pop(0)["delegate"] == {"name": "pointsman-location"}
    assert delegating == plain
    assert read_virtual_service(plain).hosts == ("location.hotrod-istio.svc.cluster.local",)


def test_the_sandbox_is_one() -> None:
    read_object(yaml.safe_load((FOLDER / "sandbox.yaml").read_text()))


def test_nothing_of_ours_is_left_when_it_is_taken_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in RENDERED:
        assert main(["istio", "render", "-f", str(path), "--remove"]) == 0
        out, err = capsys.readouterr()
        if "patch" in path.stem:
            assert yaml.safe_load(out) == yaml.safe_load((FOLDER / "owner" / "virtualservice.yaml").read_text())
        else:
            assert (out, err.count("to be deleted: VirtualService hotrod-istio/pointsman-location")) == ("", 1)
