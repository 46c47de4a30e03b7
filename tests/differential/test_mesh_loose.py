"""A real Envoy with SPEC 8's rules against a model of their expression, which is Python's engine with the same words.

Where that form and the proxy part is a reviewed list: `test_envoy_routing.DEVIATIONS`.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

from controller.istio.matches import NAMES
from tests.support.keyheaders import Maker
from tests.support.meshrules import BASELINE, KEYS, Case, loose_place, rules, run_rules

SIZE = 30_000


def test_generated_headers(tmp_path: Path) -> None:
    make = Maker(Random(21), NAMES, KEYS)
    cases = [Case(make.wild()) for _ in range(SIZE)]
    expected = [loose_place(case.headers) for case in cases]
    with run_rules(tmp_path, rules(KEYS, "signadot")) as mesh:
        found = mesh.decisions(cases)
    assert [one for one in zip(cases, expected, found, strict=True) if one[1] != one[2]] == []
    assert sum(place != BASELINE for place in expected) > SIZE // 4
