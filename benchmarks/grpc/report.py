"""A run of `python -m benchmarks grpc` as a table."""

from collections.abc import Iterator

from benchmarks.bars import grpc_title
from benchmarks.figures import find
from benchmarks.grpc.rounds import GrpcLoad
from benchmarks.report import Result, bar_cells, cell, heading, remarks, row

_ORDER = ("sidecar", "envoy", "direct")


def table(result: Result[GrpcLoad]) -> str:
    """For a terminal of 120 columns."""
    load = result.load
    out = f"{load.connections} connections x {load.calls} calls, closed loop"
    lines = [
        *heading(result),
        *_cpu(result, "grpc", f"CPU per unary call, us ({out}; fields as gRPC's core library writes them)"),
        *_cpu(result, "grpc-single", f"The same, {load.single().connections} connections x 1 call"),
        *_cpu(result, "grpc-go", f"The same, fields as grpc-go writes them ({out})"),
        *_cpu(result, "grpc-rate", f"The same at {load.rate:,} calls/s ({load.connections} connections, core library)"),
        *_latency(result),
        *_streams(result),
        *remarks(result, "grpc"),
    ]
    return "\n".join(line.rstrip() for line in lines)


def _cpu(result: Result[GrpcLoad], measure: str, title: str) -> Iterator[str]:
    bars = {each.what: each for each in result.comparisons}
    rows = []
    for tagged in (False, True):
        points = [find(result.points, measure, target, 1, tagged) for target in _ORDER[:2]]
        if any(points):
            what = next(grpc_title(point, "cpu_us") for point in points if point)
            bar = bar_cells(bars[what], 2) if what in bars else ()
            rows.append(row("tagged" if tagged else "untagged", *(cell(point, "cpu_us") for point in points), *bar))
    if rows:
        yield from (title, row("", "sidecar", "envoy", "ratio", "bar"), *rows, "")


def _latency(result: Result[GrpcLoad]) -> Iterator[str]:
    points = [find(result.points, "grpc-rate", target, 1) for target in _ORDER]
    if any(points):
        yield f"Latency from the intended send time, us ({result.load.rate:,} calls/s, tagged)"
        yield row("", *_ORDER)
        for name in ("p50", "p99"):
            yield row(name, *(cell(point, f"{name}_us", 0) for point in points))
        yield ""


def _streams(result: Result[GrpcLoad]) -> Iterator[str]:
    bars = {each.what: each for each in result.comparisons}
    for measure in dict.fromkeys(point.measure for point in result.points):
        kind, _, split = measure.partition("grpc-streams-")
        if kind or not split:
            continue
        connections, streams = map(int, split.split("x"))
        yield f"Memory, {connections * streams:,} open streams ({connections} connections x {streams} streams)"
        yield row("", "sidecar", "envoy", "ratio", "bar")
        points = [find(result.points, measure, target, 1) for target in _ORDER[:2]]
        for title, name in (
            ("RSS MB", "rss_mb"),
            ("added MB", "added_mb"),
            ("KB for each", "stream_kb"),
            ("idle RSS MB", "idle_rss_mb"),
            ("PSS MB", "pss_mb"),
        ):
            what = next(grpc_title(point, name) for point in points if point)
            bar = bar_cells(bars[what]) if what in bars else ()
            yield row(title, *(cell(point, name) for point in points), *bar)
        yield ""
