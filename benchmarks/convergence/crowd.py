"""Many proxies in one process, from the feed's connection to the table in force; only the data path is missing.

    python -m benchmarks.convergence.crowd --port PORT --controller URL

`PORT` is where whoever started it listens for its answers. It is told what to do by one JSON line each, and answers
each by one line:

    {"do": "attach", "count": N}        so many in all; answers when all are in sync: {"at_ns", "rss_mb"}
    {"do": "lose"}                      answers when all have noticed that the controller is gone: {"at_ns"}
    {"do": "sync"}                      answers when all are in sync: {"at_ns", "cpu_s"}
    {"do": "watch", "kind", "name", "key", "workloads", "port"}
                                        answers at once, and again when all have it: {"at_ns": [of each], "cpu_s"}

Times are of the monotonic clock, which all processes of a machine share.
"""

import argparse
import asyncio
import json
import resource
import time
from dataclasses import dataclass, field

import uvloop

from benchmarks.convergence.farm import NAMESPACE, PORT, workload_name
from proxy.feed.link import Controller, Link
from proxy.feed.messages import Hello
from proxy.feed.receiver import Receiver
from proxy.feed.report import Reporter
from proxy.release import RELEASE
from proxy.routing.names import Workload
from proxy.tables import TableHolder
from proxy.telemetry.traffic import KeyTraffic

_LOOK_S = 0.005


@dataclass(slots=True)
class _Watch:
    """A change that is on its way."""

    kind: str
    name: str
    key: bytes
    workloads: frozenset[Workload]
    port: int
    waiting: set[int] = field(default_factory=set)
    at_ns: list[int] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def concerns(self, workload: Workload) -> bool:
        """Whether a change shows there: another destination shows only where the route is."""
        return self.kind != "change" or workload in self.workloads

    def is_in_force(self, tables: TableHolder) -> bool:
        """By what a request would look up."""
        view = tables.view
        if view is None:
            return False
        route = view.routes.get(self.key)
        if self.kind == "remove":
            name = view.name_of(self.key)
            return route is None and name not in view.live and name in view.gone
        if tables.workload not in self.workloads:
            return view.name_of(self.key) in view.live
        if route is None or route.route.sandbox != self.name:
            return False
        return any(each.port == self.port for mapping in route.route.mappings for each in mapping.destinations)


class _Member:
    """One proxy, without requests."""

    def __init__(self, number: int, controller: str, crowd: "_Crowd") -> None:
        self.number = number
        self.tables = TableHolder(Workload(NAMESPACE, "Deployment", workload_name(number)), controller)
        self.tables.unheard("not attached yet")
        self._crowd = crowd
        self._receiver = Receiver(self.tables, [PORT], self._table_put)
        self._link = Link(
            Controller(controller, None, None), self._hello, self.tables, self._receiver, Reporter(KeyTraffic())
        )
        self._running = asyncio.get_running_loop().create_task(self._link.run())

    def _hello(self) -> Hello:
        return Hello(
            id=f"crowd-{self.number}",
            boot=f"boot-{self.number}",
            workload=str(self.tables.workload),
            ports=(PORT,),
            release=RELEASE,
            position=self._receiver.position,
            version=self._receiver.version,
            salt=self._receiver.salt,
        )

    def _table_put(self, _: bool) -> None:
        self._crowd.look(self)


class _Crowd:
    def __init__(self, controller: str) -> None:
        self._controller = controller
        self._members: list[_Member] = []
        self._watch: _Watch | None = None

    def look(self, member: _Member) -> None:
        watch = self._watch
        if watch is not None and member.number in watch.waiting and watch.is_in_force(member.tables):
            watch.at_ns.append(time.monotonic_ns())
            watch.waiting.discard(member.number)
            if not watch.waiting:
                watch.done.set()

    async def attach(self, count: int) -> dict[str, object]:
        first = len(self._members)
        self._members += [_Member(first + number, self._controller, self) for number in range(count - first)]
        return await self.all_are(stale=False)

    async def all_are(self, *, stale: bool) -> dict[str, object]:
        began_s = time.process_time()
        while any(member.tables.is_stale is not stale for member in self._members):
            await asyncio.sleep(_LOOK_S)
        at_ns = time.monotonic_ns()
        rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
        return {"at_ns": at_ns, "cpu_s": time.process_time() - began_s, "rss_mb": rss_mb}

    def expect(self, order: dict[str, object]) -> None:
        workloads = order["workloads"]
        assert isinstance(workloads, list)
        watch = _Watch(
            kind=str(order["kind"]),
            name=str(order["name"]),
            key=str(order["key"]).encode(),
            workloads=frozenset(Workload(NAMESPACE, "Deployment", workload_name(each)) for each in workloads),
            port=int(str(order["port"])),
        )
        watch.waiting = {each.number for each in self._members if watch.concerns(each.tables.workload)}
        early = [
            each.number for each in self._members if each.number in watch.waiting and watch.is_in_force(each.tables)
        ]
        if early:
            raise RuntimeError(f"{len(early)} members have {order} before it was written")
        if not watch.waiting:
            watch.done.set()
        self._watch = watch

    async def seen(self) -> dict[str, object]:
        assert self._watch is not None
        began_s = time.process_time()
        await self._watch.done.wait()
        at_ns, self._watch = self._watch.at_ns, None
        return {"at_ns": at_ns, "cpu_s": time.process_time() - began_s}


async def _run(controller: str, port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    crowd = _Crowd(controller)

    def answer(values: dict[str, object]) -> None:
        writer.write(json.dumps(values).encode() + b"\n")

    while line := await reader.readline():
        order = json.loads(line)
        if order["do"] == "attach":
            answer(await crowd.attach(order["count"]))
        elif order["do"] == "watch":
            crowd.expect(order)
            answer({})
            answer(await crowd.seen())
        else:
            answer(await crowd.all_are(stale=order["do"] == "lose"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.convergence.crowd")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--controller", required=True)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(_run(options.controller, options.port))


if __name__ == "__main__":
    main()
