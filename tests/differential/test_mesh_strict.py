"""A real Envoy with strict rules for each sandbox against the proxy: they send a request to the same place.

The domain is that of `Maker.defined()`. Outside stand the lines of manifests/istio/LIMITS.md (`test_mesh_limits.py`):
where lines are matched alone, such that contradict each other; where RE2 reads UTF-8, values that are none.
`make fuzz-mesh` does the same for longer.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from controller.istio.matches import NAMES
from tests.corpus.routing import KEY, OTHER, TAG
from tests.support.keyheaders import Headers, Maker
from tests.support.meshrules import BASELINE, JOINED, KEYS, UTF8, Case, Mesh, Ours, rules, run_rules

SIZE = 25_000


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with run_rules(tmp_path_factory.mktemp("strict"), rules(KEYS, "strict")) as found:
        yield found


def test_generated_headers(mesh: Mesh) -> None:
    ours, make = Ours(), Maker(Random(20), NAMES, KEYS)
    made = [Case(make.defined()) for _ in range(SIZE)]
    compare(mesh, ours, [case for case in made if case.headers.lines_agree(ours.reader)])


def test_generated_headers_where_lines_are_joined(tmp_path: Path) -> None:
    """Envoy before 1.39.0, and later ones that are told so: no line contradicts another."""
    make = Maker(Random(21), NAMES, KEYS)
    with run_rules(tmp_path, rules(KEYS, "strict"), JOINED) as mesh:
        compare(mesh, Ours(), [Case(make.defined()) for _ in range(SIZE)])


def test_generated_headers_where_values_are_utf_8(tmp_path: Path) -> None:
    make = Maker(Random(22), NAMES, KEYS)
    made = [Case(make.defined()) for _ in range(SIZE)]
    with run_rules(tmp_path, rules(KEYS, "strict"), JOINED | UTF8) as mesh:
        compare(mesh, Ours(), [case for case in made if case.headers.is_utf8])


def compare(mesh: Mesh, ours: Ours, cases: list[Case]) -> None:
    expected = [ours.place(case) for case in cases]
    found = mesh.decisions(cases)
    assert [one for one in zip(cases, expected, found, strict=True) if one[1] != one[2]] == []
    assert len(cases) > SIZE * 3 // 4
    assert set(expected) == {BASELINE, *(f"fork-{number}" for number in range(len(KEYS)))}
    assert len(cases) // 4 < sum(place != BASELINE for place in expected) < len(cases) * 3 // 4


def test_up_to_the_longest_that_everybody_must_take(mesh: Mesh) -> None:
    """8192 bytes, in one member, in 64, in 4,000 empty ones, in several lines; the key first, in the middle, last."""
    ours, cases = Ours(), []
    assert KEYS[0] == KEY.decode()
    for filling in (b"pad=" + b"v" * 8100, b",".join(b"m%02d=%s" % (n, b"v" * 120) for n in range(63)), b"," * 4000):
        for members in ([TAG, filling], [filling, TAG], [filling[:4000], TAG, filling[4100:]], [filling]):
            cases += [
                Case(Headers((b",".join(members)[:8192],), ())),
                Case(Headers(tuple(members), ())),
                Case(Headers((), (b",".join(members)[:8192],))),
                Case(Headers((b"sd-routing-key=" + OTHER, *members), tuple(members))),
            ]
    assert mesh.decisions(cases) == [ours.place(case) for case in cases]
