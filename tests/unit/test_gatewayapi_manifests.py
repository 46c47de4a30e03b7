"""manifests/gatewayapi: each rendered file is what its first line says, and the page names what there is."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.gatewayapi.render import REGULAR_EXPRESSIONS
from pointsman.__main__ import main
from tests.support.gatewayapi import Request, decide, led_to
from tests.support.named import Names

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "manifests" / "gatewayapi"
RENDERED = sorted((FOLDER / "rendered").glob("*.yaml"))
PAGE = (ROOT / "manifests" / "README.md").read_text(encoding="utf-8")

AT = (("hotrod-istio", "location"), 80)
FORK = ["local-location-location-9f4477c8/8081"]
TAGGED = [("baggage", "sd-routing-key=qwblp48fpmb30")]


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for name in ("API", "NAMESPACE", "OUTPUT", "ISTIO_MODE", "ROUTER", "REGEX", "KEY_NAME", "FILE", "REMOVE", "DIFF"):
        monkeypatch.delenv(f"POINTSMAN_{name}", raising=False)


def test_all_are_there() -> None:
    named = {line.split("`")[1] for line in PAGE.splitlines() if line.startswith("| `gatewayapi/")}
    assert {str(path.relative_to(ROOT / "manifests")) for path in RENDERED} == {
        name for name in named if name.startswith("gatewayapi/rendered/")
    }
    assert all((ROOT / "manifests" / name).exists() for name in named)


def test_the_page_names_tests_that_exist(request: pytest.FixtureRequest) -> None:
    named = [span for span in PAGE.split("`")[1::2] if span.startswith("tests/")]
    assert len(named) >= 3
    assert Names(request.session).missing(named) == []


@pytest.mark.parametrize("path", RENDERED, ids=lambda path: path.stem)
def test_each_is_what_its_command_writes(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command, _, expected = path.read_text().partition("\n")
    words = shlex.split(command.removeprefix("# "))
    assert words[0] == "pointsman"
    assert main(words[1:]) == 0
    out, err = capsys.readouterr()
    assert out == expected
    assert REGULAR_EXPRESSIONS in err


@pytest.mark.parametrize("path", RENDERED, ids=lambda path: path.stem)
def test_each_leads_where_it_should(path: Path) -> None:
    documents: list[Any] = list(yaml.safe_load_all(path.read_text()))
    if path.stem in ("rules", "strict", "router"):
        documents += yaml.safe_load_all((FOLDER / "owner" / "httproute.yaml").read_text())
    target = "/a.A/Get" if path.stem == "grpc" else "/v1/x"
    expected = ["pointsman/router/80"] if path.stem == "router" else FORK
    assert led_to(decide(documents, Request(target, headers=TAGGED), *AT)) == expected
    assert led_to(decide(documents, Request(target), *AT)) == ["location/80"]


def test_nothing_of_ours_is_left_when_it_is_taken_out(capsys: pytest.CaptureFixture[str]) -> None:
    for path in RENDERED:
        count = len([*yaml.safe_load_all(path.read_text())])
        assert main(["istio", "render", "--api", "gateway", "-f", str(path), "--remove"]) == 0
        out, err = capsys.readouterr()
        assert (out, err.count("to be deleted: ")) == ("", count)
