"""A run as a table beside the bars that the project set itself, and as JSON (schema: README.md of this folder)."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

from benchmarks import environment
from benchmarks.bars import Comparison
from benchmarks.convergence.load import ConvergenceLoad
from benchmarks.figures import Point, Spread, find, scenario
from benchmarks.grpc.rounds import GrpcLoad
from benchmarks.processes import Cores
from benchmarks.rounds import Load

SCHEMA = "pointsman-benchmark/1"
AnyLoad = TypeVar("AnyLoad", Load, GrpcLoad, ConvergenceLoad)


@dataclass(frozen=True)
class Result(Generic[AnyLoad]):
    plan: str
    began: float
    took_s: float
    rounds: int
    load: AnyLoad
    tools: dict[str, str]  # what did which part, by part
    left_out: dict[str, str]
    points: list[Point]
    comparisons: list[Comparison]
    cores: Cores


def heading(result: Result[AnyLoad]) -> list[str]:
    used = ", ".join(f"{use} {tool}" for use, tool in result.tools.items())
    return [
        f"median (lowest-highest) of {result.rounds} interleaved rounds; {used}",
        *(f"left out: {name}: {why.splitlines()[0]}" for name, why in result.left_out.items()),
        "",
    ]


def table(result: Result[Load]) -> str:
    """For a terminal of 120 columns."""
    bars = {each.what: each for each in result.comparisons}
    lines = [
        *heading(result),
        *_cpu_rows(result, bars),
        "",
        *_latency_rows(result, bars),
        "",
        *_idle_rows(result, bars),
        "",
        *remarks(result, "cpu"),
    ]
    return "\n".join(line.rstrip() for line in lines)


def _cpu_rows(result: Result[Load], bars: dict[str, Comparison]) -> Iterator[str]:
    yield f"CPU per request, us ({result.load.connections} connections, closed loop)"
    yield row("", "sidecar", "envoy", "ratio", "bar")
    for sandboxes, tagged in ((1, False), (1, True), (1000, False), (1000, True), (100_000, True)):
        title = scenario(sandboxes, tagged)
        points = [find(result.points, "cpu", target, sandboxes, tagged) for target in ("sidecar", "envoy")]
        yield row(title, *(cell(point, "cpu_us") for point in points), *bar_cells(bars[f"cpu {title}"], 3))


def _latency_rows(result: Result[Load], bars: dict[str, Comparison]) -> Iterator[str]:
    yield f"Latency from the intended send time, us ({result.load.rate:,} requests/s, tagged, 1 sandbox)"
    yield row("", "sidecar", "envoy", "direct", "added, ratio", "bar")
    points = [find(result.points, "latency", target, 1) for target in ("sidecar", "envoy", "direct")]
    for name in ("p50", "p99"):
        yield row(name, *(cell(point, f"{name}_us", 0) for point in points), *bar_cells(bars[f"added latency {name}"]))


def _idle_rows(result: Result[Load], bars: dict[str, Comparison]) -> Iterator[str]:
    yield "Idle, after one request"
    yield row("", "sidecar", "envoy", "", "bar")
    for sandboxes, what, name, bar in (
        (1, "RSS MB", "rss_mb", "idle memory"),
        (1, "PSS MB", "pss_mb", ""),
        (1, "start ms", "start_ms", "start"),
        (1000, "RSS MB", "rss_mb", ""),
        (1000, "start ms", "start_ms", ""),
        (100_000, "RSS MB", "rss_mb", ""),
        (100_000, "start ms", "start_ms", ""),
    ):
        points = [find(result.points, "idle", target, sandboxes) for target in ("sidecar", "envoy")]
        title = f"{scenario(sandboxes)}, {what}"
        yield row(title, *(cell(point, name) for point in points), "", bar_cells(bars[bar])[1] if bar else "")


def remarks(result: Result[AnyLoad], measure: str) -> list[str]:
    """`measure`: where direct shows the generator's limit."""
    lines: list[str] = [f"void: {_title(point)}: {point.void}" for point in result.points if point.void]
    marked = sum(point.marked for point in result.points)
    if marked:
        rounds = sum(len(point.rounds) for point in result.points)
        lines.append(
            f"disturbed: {marked} of {rounds} rounds (time stolen by the hypervisor, or other programs on the proxy's "
            "core); they are left out where at least half remain"
        )
    limit = find(result.points, measure, "direct", 1)
    rate = limit.spread("rps") if limit else None
    if rate:
        lines.append(f"generator and origin without a proxy: {rate.median:,.0f} requests/s")
    return [
        *lines,
        f"sidecar: {environment.sidecar_form()}",
        "envoy: a bare one with the routes that Istio programs; an istio-proxy adds filters and costs more",
        "ratio: of rounds side by side, then the median; ok? and missed?: rounds lie on both sides of the bar",
    ]


def write(result: Result[AnyLoad], path: Path) -> None:
    document = {
        "schema": SCHEMA,
        "plan": result.plan,
        "began": datetime.fromtimestamp(result.began, UTC).isoformat(timespec="seconds"),
        "took_s": round(result.took_s, 1),
        "command": environment.command(),
        "commit": environment.commit(),
        "machine": environment.machine(result.cores),
        "versions": environment.versions(),
        "tools": result.tools,
        "rounds": result.rounds,
        "load": asdict(result.load),
        "left_out": result.left_out,
        "points": [_point(point) for point in result.points],
        "comparisons": [{**asdict(each), "verdict": each.verdict} for each in result.comparisons],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")


def _point(point: Point) -> dict[str, object]:
    spreads = {name: point.spread(name) for each in point.rounds for name in each.values}
    return {
        **asdict(point),
        "void": point.void,
        "marked": point.marked,
        "figures": {name: asdict(value) for name, value in spreads.items() if value},
    }


def _title(point: Point) -> str:
    return f"{point.measure}, {point.target}, {point.scenario}"


def row(title: str, *cells: str) -> str:
    return f"  {title:28}" + "".join(f"{cell:23}" for cell in cells)


def cell(point: Point | None, name: str, digits: int = 1) -> str:
    if point is None:
        return "-"
    value = point.spread(name)
    return _text(value, digits) if value else ("void" if point.void else "-")


def _text(value: Spread, digits: int) -> str:
    """The median; the spread too if there is one. From 100 on without decimals."""
    digits = 0 if value.median >= 100 else digits
    median = f"{value.median:.{digits}f}"
    return median if value.count == 1 else f"{median} ({value.low:.{digits}f}-{value.high:.{digits}f})"


def bar_cells(each: Comparison, digits: int = 2) -> tuple[str, str]:
    value = _text(each.value, digits) if each.value else "-"
    unit = f" {each.unit}" if each.unit != "x envoy" else ""
    return value, f"<= {each.bar:g}{unit} {each.verdict}"


def say(text: str) -> None:
    """What a run tells meanwhile."""
    print(text.rstrip(), file=sys.stderr, flush=True)
