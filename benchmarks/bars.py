"""The bars that the project set itself, and how a run stands to them."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.figures import Point, Spread, added_ratio, find, percentile, ratio, scenario

# (sandboxes, tagged, at most so many times Envoy's CPU per request)
_CPU_BARS = ((1, False, 0.60), (1, True, 0.60), (1000, False, 0.60), (1000, True, 0.05))
_FLAT_BAR = 1.10  # 100,000 sandboxes against one, our own cost; 1,000 against one, Envoy's with fan-in
_ROUTER_BAR = 1.10  # times the sidecar's CPU per request
_ADDED_LATENCY_BARS = (("p50", 0.6), ("p99", 1.0))  # times what Envoy adds
_GRPC_CPU_BAR = 1.0  # times Envoy's CPU per unary call
_GRPC_STREAMS_BAR = 2.0  # times Envoy's memory with all streams open
_CONVERGENCE_BAR = 1000.0  # ms from a change to the last proxy, 99th percentile
# (measure, value, unit, bar) of the controller
_CONTROLLER_BARS = (
    ("controller", "cpu_ms", "ms", 20.0),
    ("controller", "rss_mb", "MB", 400.0),
    ("reconnect", "start_s", "s", 10.0),
    ("reconnect", "rss_mb", "MB", 400.0),
    ("reconnect-changed", "rss_mb", "MB", 400.0),
)
_IDLE_BARS = (("idle memory", "rss_mb", "MB", 40.0), ("start", "start_ms", "ms", 500.0))


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure beside its bar."""

    what: str
    unit: str
    bar: float
    value: Spread | None  # None: a side is void or missing

    @property
    def verdict(self) -> str:
        """`?` behind it when the rounds lie on both sides of the bar."""
        if self.value is None:
            return "-"
        word = "ok" if self.value.median <= self.bar else "missed"
        return word + ("?" if self.value.low <= self.bar < self.value.high else "")


def comparisons(points: Sequence[Point]) -> list[Comparison]:
    found = []
    for sandboxes, tagged, bar in _CPU_BARS:
        ours, theirs = (find(points, "cpu", target, sandboxes, tagged) for target in ("sidecar", "envoy"))
        value = ratio(ours, theirs, "cpu_us") if ours and theirs else None
        found.append(Comparison(f"cpu {scenario(sandboxes, tagged)}", "x envoy", bar, value))
    most, one = (find(points, "cpu", "sidecar", sandboxes) for sandboxes in (100_000, 1))
    flat = ratio(most, one, "cpu_us") if most and one else None
    found.append(Comparison(f"cpu {scenario(100_000, True)}", "x 1 sandbox", _FLAT_BAR, flat))
    ours, theirs, direct = (find(points, "latency", target, 1) for target in ("sidecar", "envoy", "direct"))
    for name, bar in _ADDED_LATENCY_BARS:
        value = added_ratio(ours, theirs, direct, f"{name}_us") if ours and theirs and direct else None
        found.append(Comparison(f"added latency {name}", "x envoy", bar, value))
    idle = find(points, "idle", "sidecar", 1)
    for what, name, unit, bar in _IDLE_BARS:
        found.append(Comparison(what, unit, bar, idle.spread(name) if idle else None))
    return found


def grpc_comparisons(points: Sequence[Point]) -> list[Comparison]:
    """For each measure of `benchmarks.grpc.plan` that ran. That named `grpc` is what the bar is about; the other CPU
    measures stand beside it."""
    found = []
    for ours in points:
        if ours.target != "sidecar":
            continue
        theirs = find(points, ours.measure, "envoy", ours.sandboxes, ours.tagged)
        streams = ours.measure.startswith("grpc-streams")
        for name in ("rss_mb", "added_mb") if streams else ("cpu_us",):
            bar = _GRPC_STREAMS_BAR if streams else _GRPC_CPU_BAR
            value = ratio(ours, theirs, name) if theirs else None
            found.append(Comparison(grpc_title(ours, name), "x envoy", bar, value))
    return found


def grpc_title(point: Point, value: str) -> str:
    return f"{point.measure} {value} {point.scenario}"


def mesh_comparisons(points: Sequence[Point]) -> list[Comparison]:
    """Fan-in at 1,000 sandboxes against itself at one; the router against the sidecar, as many sandboxes each."""
    found = []
    many, one = (find(points, "cpu", "envoy-fan-in", sandboxes) for sandboxes in (1000, 1))
    flat = ratio(many, one, "cpu_us") if many and one else None
    found.append(Comparison("fan-in, 1,000 sandboxes", "x 1 sandbox", _FLAT_BAR, flat))
    for sandboxes in (1, 1000):
        ours, theirs = (find(points, "cpu", target, sandboxes) for target in ("router", "sidecar"))
        value = ratio(ours, theirs, "cpu_us") if ours and theirs else None
        found.append(Comparison(f"router, {scenario(sandboxes)}", "x sidecar", _ROUTER_BAR, value))
    return found


def convergence_comparisons(points: Sequence[Point]) -> list[Comparison]:
    """Those of `benchmarks.convergence` that ran."""
    found = []
    for point in points:
        if point.measure == "convergence" and point.rounds:
            took_us = sorted(int(each.values["took_ms"] * 1000) for each in point.rounds)
            p99 = percentile(took_us, 0.99) / 1000
            found.append(Comparison("convergence p99", "ms", _CONVERGENCE_BAR, Spread(p99, p99, p99, 1)))
        for measure, name, unit, bar in _CONTROLLER_BARS:
            if point.measure == measure:
                found.append(Comparison(f"{measure} {name}", unit, bar, point.spread(name)))
    return found
