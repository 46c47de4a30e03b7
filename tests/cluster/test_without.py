"""What the cluster tests say where they can't run. These run everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cluster import ASSETS_VARIABLE, CRDS_VARIABLE, missing


@pytest.fixture
def binaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that counts as complete."""
    for name in ("etcd", "kube-apiserver"):
        (tmp_path / name).touch(mode=0o755)
    (tmp_path / "crd.yaml").touch()
    monkeypatch.setenv(ASSETS_VARIABLE, str(tmp_path))
    monkeypatch.setenv(CRDS_VARIABLE, str(tmp_path))
    return tmp_path


def test_nothing_is_missing(binaries: Path) -> None:
    assert missing() is None


@pytest.mark.parametrize("name", [ASSETS_VARIABLE, CRDS_VARIABLE])
def test_the_variable_is_named(binaries: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name)
    assert (missing() or "").startswith(f"{name} is not set")


def test_the_program_is_named(binaries: Path) -> None:
    (binaries / "etcd").unlink()
    assert missing("kube-controller-manager") == f"{ASSETS_VARIABLE}={binaries} has no etcd, kube-controller-manager"


def test_a_folder_without_definitions_is_named(binaries: Path) -> None:
    (binaries / "crd.yaml").unlink()
    assert missing() == f"{CRDS_VARIABLE}={binaries} has no *.yaml"
    assert missing(crds=False) is None
