"""A run of `python -m benchmarks convergence` as a table."""

from collections.abc import Iterator

from benchmarks import environment
from benchmarks.bars import Comparison
from benchmarks.convergence.load import ConvergenceLoad
from benchmarks.figures import Point, percentile
from benchmarks.report import Result, bar_cells, row

_SHARES = (("p50", 0.50), ("p99", 0.99), ("max", 1.0))


def table(result: Result[ConvergenceLoad]) -> str:
    """For a terminal of 120 columns."""
    lines = [
        *rows(result.points, result.comparisons, result.load),
        "",
        "proxies and the load share the other cores: their own work is in the times",
        f"proxies: {environment.sidecar_form()}",
    ]
    return "\n".join(line.rstrip() for line in lines)


def rows(points: list[Point], comparisons: list[Comparison], load: ConvergenceLoad) -> Iterator[str]:
    """What the quick plan shows, too."""
    bars = {each.what: each for each in comparisons}
    for point in points:
        if point.measure == "convergence":
            yield (
                f"From a change to the last proxy that routes by it, ms ({load.sandboxes:,} sandboxes, "
                f"{load.proxies:,} proxies, {load.routers} routers, {len(point.rounds)} changes)"
            )
            yield row("", *(name for name, _ in _SHARES), "bar (p99)")
            yield row("all", *_times(point, "took_ms"), bar_cells(bars["convergence p99"])[1])
            for name in sorted({name for each in point.rounds for name in each.values} - {"took_ms"}):
                kind, way, _ = name.split("_")
                yield row(f"{kind}, by {'REST' if way == 'rest' else 'file'}", *_times(point, name))
        elif point.measure == "controller":
            values = point.rounds[0].values
            yield ""
            yield "The controller"
            yield row("", "", "", "", "bar")
            yield row("CPU ms per change", *_value(bars["controller cpu_ms"]))
            yield row("RSS MB", *_value(bars["controller rss_mb"]))
            if "router_rss_mb" in values:
                yield row("RSS MB of a router", f"{values['router_rss_mb']:.0f}")
            again = f"{values['ready_s']:.1f} again" if "ready_s" in values else ""
            yield row("start to ready, s", f"{values['first_s']:.1f} at first", again)
        elif point.measure.startswith("reconnect"):
            yield ""
            yield from _reconnect(point, bars, load)


def _reconnect(point: Point, bars: dict[str, Comparison], load: ConvergenceLoad) -> Iterator[str]:
    """Where everybody needs all of the table, the proxies' own work, all in one process, is most of it: no bar."""
    values = point.rounds[0].values
    is_changed = point.measure == "reconnect-changed"
    yield (
        f"Killed and started again, {load.reconnecting:,} proxies"
        f"{': the table changed meanwhile, all need all of it' if is_changed else ''}"
    )
    yield row("", "", "", "", "bar")
    took = "start to all in sync, s"
    yield row(took, f"{values['start_s']:.1f}") if is_changed else row(took, *_value(bars["reconnect start_s"]))
    yield row("of which until ready", f"{values['ready_s']:.1f}")
    yield row("CPU s of the controller", f"{values['cpu_s']:.1f}")
    yield row("CPU s of the proxies", f"{values['crowd_cpu_s']:.1f}")
    yield row("RSS MB", *_value(bars[f"{point.measure} rss_mb"]))


def _times(point: Point, name: str) -> list[str]:
    took_us = sorted(int(each.values[name] * 1000) for each in point.rounds if name in each.values)
    return [f"{percentile(took_us, share) / 1000:.0f}" for _, share in _SHARES]


def _value(each: Comparison) -> tuple[str, str, str, str]:
    value, bar = bar_cells(each, 1)
    return value, "", "", bar
