"""`python -m tests.soak --seconds 600 --seed 1`: exit code 1 and the first violations in full if any."""

from __future__ import annotations

import argparse
import secrets
import sys
from collections import Counter

from tests.soak.scene import Result, soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="A proxy under load while all changes.")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long the load runs (default: 600)")
    parser.add_argument("--seed", type=int, default=None, help="of everything random (default: another each time)")
    arguments = parser.parse_args()
    seed = secrets.randbelow(10**6) if arguments.seed is None else arguments.seed
    print(f"soak of {arguments.seconds:g} s, seed {seed}", flush=True)
    result = soak(arguments.seconds, seed)
    for violation in result.judge.violations:
        print(f"\nVIOLATION {violation}")
    print()
    print("\n".join(summary(result)))
    print(f"{result.judge.violation_count} violations; seed {seed}")
    return 1 if result.judge.violation_count else 0


def summary(result: Result) -> list[str]:
    judge, swaps, vitals = result.judge, result.swaps, result.vitals
    requests = sum(judge.asked.values())
    rate = requests / result.seconds if result.seconds else 0.0
    lines = [f"{requests} requests in {result.seconds:.0f} s, {rate:.0f} a second"]
    lines += _columns("asked", judge.asked)
    lines += _columns("ended", judge.outcomes)
    lines.append(f"tables  {swaps.done} in force, {swaps.refused} invalid ones refused")
    if vitals is not None:
        first, last = (size / 1e6 for size in vitals.rss_thirds)
        lines.append(f"memory  {first:.1f} MB in the first third after the warm-up, {last:.1f} MB in the last")
        files = vitals.files_at_start, vitals.most_files, vitals.files_at_end
        lines.append("files   {} open at the start, {} at most, {} at the end".format(*files))
    lines.append(f"exit    {result.exit_code}")
    return lines


def _columns(title: str, counts: Counter[str]) -> list[str]:
    cells = [f"{name:<26}{count:>7}" for name, count in sorted(counts.items())]
    rows = [cells[start : start + 3] for start in range(0, len(cells), 3)]
    return [f"{title if row is rows[0] else '':<8}{'   '.join(row)}" for row in rows]


if __name__ == "__main__":
    sys.exit(main())
