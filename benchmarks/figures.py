"""From raw rounds to what is printed: medians with their spread, ratios of rounds that ran side by side.

A round is *void* when requests failed or went where they should not: a figure of it says nothing, and one void round
voids its point. A round is *marked* when the machine disturbed it (stolen time, other programs on the proxy's core).
Medians leave marked rounds out while at least half of the rounds remain, and otherwise use all of them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True, slots=True)
class Round:
    values: dict[str, float]  # by names that end in the unit: cpu_us, p99_us; empty if nothing was measured
    notes: dict[str, float] = field(default_factory=dict)  # what else was counted
    marked: str = ""  # why it is doubtful
    void: str = ""  # why it does not count


@dataclass(frozen=True, slots=True)
class Spread:
    """Median with the lowest and the highest of `count` rounds."""

    median: float
    low: float
    high: float
    count: int


@dataclass(slots=True)
class Point:
    """One measurement of one target in one scenario, round by round."""

    measure: str
    target: str
    sandboxes: int
    tagged: bool
    rounds: list[Round] = field(default_factory=list)

    @property
    def scenario(self) -> str:
        return scenario(self.sandboxes, self.tagged)

    @property
    def void(self) -> str:
        return next((each.void for each in self.rounds if each.void), "")

    @property
    def marked(self) -> int:
        return sum(1 for each in self.rounds if each.marked)

    def spread(self, name: str) -> Spread | None:
        """None if the point is void, or no round has that value (PSS may be unreadable)."""
        values = [self.rounds[at].values for at in kept(self.rounds)]
        return None if self.void else spread([each[name] for each in values if name in each])


def scenario(sandboxes: int, tagged: bool | None = None) -> str:
    """Its name: `tagged, 1,000 sandboxes`, or only `1,000 sandboxes`."""
    count = f"{sandboxes:,} sandbox{'' if sandboxes == 1 else 'es'}"
    return count if tagged is None else f"{'tagged' if tagged else 'untagged'}, {count}"


def find(points: Sequence[Point], measure: str, target: str, sandboxes: int, tagged: bool = True) -> Point | None:
    wanted = (measure, target, sandboxes, tagged)
    return next((p for p in points if (p.measure, p.target, p.sandboxes, p.tagged) == wanted), None)


def spread(values: Sequence[float]) -> Spread | None:
    return Spread(median(values), min(values), max(values), len(values)) if values else None


def percentile(ordered: Sequence[int], share: float) -> int:
    """The smallest of the values, in ascending order, that at least `share` of them do not exceed."""
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def kept(*points: Sequence[Round]) -> list[int]:
    """Indexes of the rounds that count: with values in all points, and not marked in any of them unless fewer than half
    were left."""
    shared = zip(*points, strict=False)
    measured = [(at, rounds) for at, rounds in enumerate(shared) if all(each.values for each in rounds)]
    clean = [at for at, rounds in measured if not any(each.marked for each in rounds)]
    return clean if 2 * len(clean) >= len(measured) else [at for at, _ in measured]


def ratio(ours: Point, theirs: Point, name: str) -> Spread | None:
    """Ours over theirs, round by round: what slows the whole machine down for a while slows both."""
    return _paired(lambda at: ours.rounds[at].values[name] / theirs.rounds[at].values[name], ours, theirs)


def added_ratio(ours: Point, theirs: Point, direct: Point, name: str) -> Spread | None:
    """What ours adds over direct, by what theirs adds.

    For percentiles this is a difference of percentiles, not the percentile of a difference, which nobody can observe.
    An addition below 1 us counts as 1 us: a ratio of nothing says nothing.
    """

    def one(at: int) -> float:
        base = direct.rounds[at].values[name]
        return max(ours.rounds[at].values[name] - base, 1.0) / max(theirs.rounds[at].values[name] - base, 1.0)

    return _paired(one, ours, theirs, direct)


def _paired(value: Callable[[int], float], *points: Point) -> Spread | None:
    if any(point.void for point in points):
        return None
    return spread([value(at) for at in kept(*(point.rounds for point in points))])
