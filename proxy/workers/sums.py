"""The metrics of several processes as those of one. Pure.

- Counters and histograms are sums, of those that are gone too: a counter that fell back when a worker died would be
  read as a restart, and what was counted would be lost.
- Gauges are sums of those that live, but for those where a sum makes no sense (`_LARGEST`, `_LEAST`).
  `pointsman_table_info` becomes the number of workers that have that version.
- Sandboxes that left the table leave the workers' series; those that only the dead had are dropped when there are
  many.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from prometheus_client.core import Metric

Labels = tuple[tuple[str, str], ...]
Exemplar = tuple[Labels, float, float | None]
Sample = tuple[str, Labels, float, Exemplar | None]
Family = tuple[str, str, str, list[Sample]]  # name, type, help, samples

_SUMMED: Final = frozenset({"counter", "histogram", "summary", "gaugehistogram"})
_LARGEST: Final = frozenset(
    {
        "pointsman_build_info",
        "pointsman_table_age_seconds",
        "pointsman_table_routes",
        "pointsman_table_stale",
        "pointsman_table_stale_seconds",
    }
)
_LEAST: Final = frozenset({"pointsman_feed_connected", "pointsman_feed_synced"})
_MAX_SERIES_OF_THE_DEAD: Final = 10_000


def plain(metrics: Iterable[Metric]) -> list[Family]:
    """What prometheus_client's families hold, in a form that can be sent."""
    return [
        (
            family.name,
            family.type,
            family.documentation,
            [
                (
                    sample.name,
                    tuple(sample.labels.items()),
                    sample.value,
                    None
                    if sample.exemplar is None
                    else (tuple(sample.exemplar.labels.items()), sample.exemplar.value, _seconds(sample.exemplar)),
                )
                for sample in family.samples
            ],
        )
        for family in metrics
    ]


def _seconds(exemplar: object) -> float | None:
    timestamp = getattr(exemplar, "timestamp", None)
    return None if timestamp is None else float(timestamp)


class Sums:
    """Of a changing set of processes."""

    def __init__(self) -> None:
        self._of_the_dead: list[Family] = []

    def died(self, families: Sequence[Family]) -> None:
        """One is gone, and this is what it had counted."""
        counted = [family for family in families if family[1] in _SUMMED]
        self._of_the_dead = _merged([self._of_the_dead, counted])

    def total(self, living: Sequence[Sequence[Family]]) -> list[Family]:
        if sum(len(family[3]) for family in self._of_the_dead) > _MAX_SERIES_OF_THE_DEAD:
            self._forget_others(living)
        return _merged([*living, self._of_the_dead])

    def _forget_others(self, living: Sequence[Sequence[Family]]) -> None:
        known = {sample[:2] for families in living for family in families for sample in family[3]}
        self._of_the_dead = [
            (name, kind, text, [sample for sample in samples if sample[:2] in known])
            for name, kind, text, samples in self._of_the_dead
        ]


def _merged(of_each: Sequence[Sequence[Family]]) -> list[Family]:
    """In the order in which they come first."""
    texts: dict[str, tuple[str, str]] = {}
    merged: dict[str, dict[tuple[str, Labels], tuple[float, Exemplar | None]]] = {}
    for families in of_each:
        for name, kind, text, samples in families:
            texts.setdefault(name, (kind, text))
            into = merged.setdefault(name, {})
            for sample, labels, value, exemplar in samples:
                before = into.get((sample, labels))
                if before is None:
                    into[sample, labels] = value, exemplar
                else:
                    into[sample, labels] = _joined(name, before[0], value), _later(before[1], exemplar)
    return [
        (name, *texts[name], [(sample, labels, *values) for (sample, labels), values in into.items()])
        for name, into in merged.items()
    ]


def _joined(name: str, a: float, b: float) -> float:
    if name in _LARGEST:
        return max(a, b)
    if name in _LEAST:
        return min(a, b)
    return a + b


def _later(a: Exemplar | None, b: Exemplar | None) -> Exemplar | None:
    if a is None or b is None:
        return a or b
    return b if (b[2] or 0.0) >= (a[2] or 0.0) else a
