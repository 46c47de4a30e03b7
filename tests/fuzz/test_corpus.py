"""The short run of the fuzzers: every kept input, every seed, and some thousand seeded mutations of them."""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest

from tests.fuzz.mutate import mutations
from tests.fuzz.targets import CORPUS, NAMES, kept, target

# As many as take a second or two.
MUTATIONS = {
    "request": 2000,
    "response": 1500,
    "key": 3000,
    "table": 2500,
    "forwarding": 2500,
    "explain": 1200,
    "http2": 700,
}
_CORPUS_BYTES_AT_MOST = 400_000


@pytest.mark.parametrize("name", NAMES)
def test_kept_inputs(name: str) -> None:
    of = target(name)
    for file, data in kept(name).items():
        try:
            of.check(data)
        except Exception as failure:
            failure.add_note(f"tests/fuzz/corpus/{name}/{file}: {data[:200]!r}")
            raise


@pytest.mark.parametrize("name", NAMES)
def test_seeds_and_mutations(name: str) -> None:
    """The same ones at each run: a change that fails here fails everywhere."""
    of = target(name)
    seeds = list(of.seeds())
    inputs = [*seeds, *kept(name).values()]
    for data in (*seeds, *islice(mutations(inputs, of.SCRAPS, Random(name)), MUTATIONS[name])):
        try:
            of.check(data)
        except Exception as failure:
            failure.add_note(f"{name}: {data!r}")
            raise


def test_the_corpus_stays_small() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(NAMES)
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) <= _CORPUS_BYTES_AT_MOST
