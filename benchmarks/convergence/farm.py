"""The folder that the controller reads: sandboxes of three workloads each, and the changes to them.

A change is written as an author would, a file put in place by a rename or removed, or through the REST API.
"""

import itertools
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

WORKLOADS = 200
PORT = 8081  # of every workload
_EACH = 3  # workloads of a sandbox
NAMESPACE = "shop"

_DOCUMENT = """\
apiVersion: pointsman.dev/v1alpha1
kind: Sandbox
metadata:
  name: {name}
  namespace: shop
  labels: {{owner: "dev-{owner}", branch: "feature-{name}"}}
spec:
  routingKey: {key}
  local:
"""
_LOCAL = """\
  - from: {{kind: Deployment, namespace: shop, name: {workload}}}
    mappings: [{{port: 8081, toLocal: "127.0.0.1:{port}"}}]
"""


def workload_name(number: int) -> str:
    return f"service-{number % WORKLOADS}"


@dataclass(frozen=True, slots=True)
class Declared:
    """One sandbox, as it is in the folder."""

    name: str
    key: str
    workloads: tuple[int, ...]
    port: int  # where its destinations listen

    def text(self) -> str:
        head = _DOCUMENT.format(name=self.name, key=self.key, owner=len(self.name) % 7)
        return head + "".join(_LOCAL.format(workload=workload_name(n), port=self.port) for n in self.workloads)


@dataclass(frozen=True, slots=True)
class Step:
    """One change: `kind` is "add", "change" (of all destinations) or "remove"; `sandbox` is as it is afterwards."""

    kind: str
    by_rest: bool
    sandbox: Declared


class Farm:
    """`ports`: where a sandbox's destinations listen at first, and after a change."""

    def __init__(self, folder: Path, count: int, ports: tuple[int, int], *, seed: int = 6) -> None:
        self.folder = folder
        self.count = count
        self._ports = ports
        self._random = random.Random(seed)
        self._sandboxes = [self._declare(number) for number in range(count)]
        self._names = itertools.count(count)

    def _declare(self, number: int, first: int | None = None) -> Declared:
        drawn = self._random.sample(range(WORKLOADS), _EACH)
        if first is not None:
            drawn = [first, *(each for each in drawn if each != first)][:_EACH]
        return Declared(f"pr-{number}", f"key{number}", tuple(drawn), self._ports[0])

    def fill(self) -> None:
        for sandbox in self._sandboxes:
            self._path(sandbox).write_text(sandbox.text())

    def steps(self, count: int, firsts: int) -> Iterator[Step]:
        """As many changes, in turns of each kind and each way. One of a change's workloads is one of the first
        `firsts`, in turn: real proxies serve those, and must have routes to show."""
        kinds = itertools.cycle(("add", "change", "remove"))
        for number, kind in zip(range(count), kinds, strict=False):
            first = (number // 3) % firsts if firsts else None
            yield Step(kind, number // 3 % 2 == 1, self._chosen(kind, first))

    def _chosen(self, kind: str, first: int | None) -> Declared:
        if kind == "add":
            sandbox = self._declare(next(self._names), first)
            self._sandboxes.append(sandbox)
            return sandbox
        fitting = [at for at, each in enumerate(self._sandboxes) if first is None or first in each.workloads]
        at = self._random.choice(fitting or range(len(self._sandboxes)))
        if kind == "remove":
            return self._sandboxes.pop(at)
        sandbox = self._sandboxes[at]
        other = self._ports[sandbox.port == self._ports[0]]
        self._sandboxes[at] = replace(sandbox, port=other)
        return self._sandboxes[at]

    def write(self, step: Step) -> None:
        """By the file."""
        path = self._path(step.sandbox)
        if step.kind == "remove":
            path.unlink()
            return
        fresh = path.with_name(f".{path.name}")
        fresh.write_text(step.sandbox.text())
        os.replace(fresh, path)

    def _path(self, sandbox: Declared) -> Path:
        return self.folder / f"{sandbox.name}.yaml"
