"""What the controller's core costs: `python -m benchmarks.compiling [sandboxes]`.

Sandboxes of three workloads each, and a route group for every hundred. Times are CPU of this process.
"""

from __future__ import annotations

import gc
import resource
import sys
from datetime import UTC, datetime, timedelta
from statistics import median
from time import process_time

from controller.allow import AllowList
from controller.collector import collector_paused
from controller.compile import Compiler, Settings
from controller.objects import LabelMatch, Object
from controller.schema import read_object
from proxy.routing.text import parse_text

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)

_SANDBOX = """
apiVersion: pointsman.dev/v1alpha1
kind: Sandbox
metadata:
  name: pr-{number}
  namespace: team-{team}
  labels: {{pr: "{number}", epic: "{epic}"}}
  creationTimestamp: "2026-11-25T10:00:00.{number:06}Z"
  generation: 1
spec:
  routingKey: key{number}
  ttl: {{duration: {hours}h, from: updated}}
  local:
  - from: {{kind: Deployment, namespace: shop, name: cart}}
    mappings: [{{port: 8081, toLocal: "10.0.0.1:9081"}}]
  - from: {{kind: Deployment, namespace: shop, name: service-{service}}}
    mappings: [{{port: 8082, toLocal: "10.0.0.1:9082"}}, {{port: 8083, toLocal: "10.0.0.1:9083", appProtocol: grpc}}]
  - from: {{kind: Deployment, namespace: shop, name: frontend}}
    mappings: [{{port: 80, toLocal: "pr-{number}.dev.example:80"}}]
"""
_GROUP = """
apiVersion: pointsman.dev/v1alpha1
kind: RouteGroup
metadata: {{name: epic-{number}, namespace: team-{team}, creationTimestamp: "2026-11-25T10:00:00Z"}}
spec:
  routingKey: epic{number}
  match: {{label: {{key: epic, value: "{number}"}}}}
"""


def sandbox(number: int, hours: int = 4) -> Object:
    epic = number // 100
    text = _SANDBOX.format(number=number, team=epic % 20, epic=epic, service=number % 200, hours=hours)
    return read_object(parse_text(text.encode()))


def group(number: int) -> Object:
    return read_object(parse_text(_GROUP.format(number=number, team=number % 20).encode()))


def resident_mb() -> float:
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    before_mb = resident_mb()
    start = process_time()
    objects = [sandbox(number) for number in range(count)] + [group(number) for number in range(count // 100)]
    print(f"{len(objects)} objects read from YAML: {process_time() - start:.2f} s")
    print(f"memory for them: {resident_mb() - before_mb:.0f} MB")

    start = process_time()
    compiler = Compiler(Settings(AllowList(["10.0.0.0/8", "*.dev.example"])))
    with collector_paused():
        for object_ in objects:
            compiler.put(object_)
        compilation = compiler.compile(NOW)
    first = process_time() - start
    table = compilation.table
    print(
        f"full compilation: {first:.3f} s, with its table {process_time() - start:.3f} s ({len(table.routes)} routes)"
    )
    print(f"memory in all: {resident_mb() - before_mb:.0f} MB more than at start ({resident_mb():.0f} MB resident)")
    del table
    gc.freeze()  # as the controller does once it has started

    figures: dict[str, list[float]] = {"change": [], "delete": [], "table": []}
    for number in range(0, count, max(1, count // 200)):
        now = NOW + timedelta(seconds=number)
        changed = read_object({**sandbox(number).document(), **_moved(number)})
        start = process_time()
        compiler.put(changed)
        compilation = compiler.compile(now)
        figures["change"].append(process_time() - start)
        start = process_time()
        assert compilation.table.routes
        figures["table"].append(process_time() - start)
        start = process_time()
        compiler.delete(changed.ref)
        compiler.compile(now)
        figures["delete"].append(process_time() - start)
    for name, values in figures.items():
        print(f"{name}: median {median(values) * 1000:.2f} ms, worst {max(values) * 1000:.2f} ms of {len(values)}")

    big = read_object({**group(0).document(), "spec": {"routingKey": "all", "match": LabelMatch("pr", "*").document()}})
    start = process_time()
    compiler.put(big)
    compiler.compile(NOW)
    print(f"a group of every sandbox of one of 20 namespaces: {(process_time() - start) * 1000:.1f} ms")


def _moved(number: int) -> dict[str, object]:
    """The sandbox's spec with another target."""
    document = sandbox(number).document()
    spec = document["spec"]
    assert isinstance(spec, dict)
    spec["local"][0]["mappings"][0]["toLocal"] = "10.0.0.2:9081"
    return {"spec": spec}


if __name__ == "__main__":
    main()
