"""`make fuzz-mesh`: a real Envoy with the mesh's rules against the proxy, on millions of generated header sets.

    python -m tests.mesh [--seconds N] [--seed N] [FORM]...

Forms: `strict` (today's Envoy), `joined` and `utf8` (as older releases match), `loose`, `fan-in`. Each gets rounds of
10,000 in turn, with seeds that follow the first, which is told; any difference ends the run with exit code 1 and is
printed with its seed.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random, SystemRandom

from controller.istio.matches import NAMES
from tests.support.keyheaders import Maker
from tests.support.meshrules import (
    BASELINE,
    JOINED,
    KEYS,
    ROUTER,
    UTF8,
    Case,
    Features,
    Mesh,
    Ours,
    fan_in,
    loose_place,
    rules,
    run_rules,
)

ROUND = 10_000


@dataclass(frozen=True)
class Form:
    rules: list[dict[str, object]]
    features: Features

    def differences(self, name: str, mesh: Mesh, ours: Ours, seed: int) -> tuple[int, list[tuple[Case, str, str]]]:
        """How many were compared, and those that Envoy sent elsewhere: (case, ours, theirs)."""
        make = Maker(Random(seed), NAMES, KEYS)
        # Rules are made for the domain on which they are the proxy's; the others for whatever comes.
        made = make.defined if self.rules is STRICT else make.wild
        cases = [Case(made()) for _ in range(ROUND)]
        if name == "strict":
            cases = [case for case in cases if case.headers.lines_agree(ours.reader)]
        if name == "utf8":
            cases = [case for case in cases if case.headers.is_utf8]
        found = mesh.decisions(cases)
        expected = [_expected(name, ours, case, place) for case, place in zip(cases, found, strict=True)]
        return len(cases), [one for one in zip(cases, expected, found, strict=True) if one[1] != one[2]]


STRICT = rules(KEYS, "strict")
FORMS = {
    "strict": Form(STRICT, {}),
    "joined": Form(STRICT, JOINED),
    "utf8": Form(STRICT, JOINED | UTF8),
    "loose": Form(rules(KEYS, "signadot"), {}),
    "fan-in": Form(fan_in(), {}),
}


def _expected(name: str, ours: Ours, case: Case, found: str) -> str:
    if name == "loose":
        return loose_place(case.headers)
    if name == "fan-in":  # what needs no router may go to it, and what needs one must
        return found if ours.decision(case).reason.name == "no_key" and found == BASELINE else ROUTER
    return ours.place(case)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mesh")
    parser.add_argument("forms", nargs="*", metavar="FORM", help=", ".join(FORMS))
    parser.add_argument("--seconds", type=float, default=600, help="in all (600)")
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(1 << 32))
    options = parser.parse_args(arguments)
    if unknown := set(options.forms) - set(FORMS):
        parser.error(f"no form of this name: {', '.join(sorted(unknown))} (there are {', '.join(FORMS)})")
    names = options.forms or list(FORMS)
    print(f"fuzz-mesh: {', '.join(names)} for {options.seconds:g} s, from seed {options.seed}", flush=True)
    counts = dict.fromkeys(names, 0)
    until = time.monotonic() + options.seconds
    seed, ours = options.seed, Ours()
    with _meshes(names) as meshes:
        while time.monotonic() < until:
            for name in names:
                count, different = FORMS[name].differences(name, meshes[name], ours, seed)
                counts[name] += count
                for case, expected, found in different[:10]:
                    print(f"fuzz-mesh: {name}, seed {seed}: {case} should go to {expected}, went to {found}")
                if different:
                    return 1
            seed += 1
    print("fuzz-mesh: no difference in", ", ".join(f"{count:,} {name}" for name, count in counts.items()), flush=True)
    return 0


@contextlib.contextmanager
def _meshes(names: Sequence[str]) -> Iterator[dict[str, Mesh]]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        meshes = {}
        for name in names:
            (folder / name).mkdir()
            meshes[name] = stack.enter_context(run_rules(folder / name, FORMS[name].rules, FORMS[name].features))
        yield meshes


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
