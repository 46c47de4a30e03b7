"""Our own load generator. Open loop: requests at a fixed rate, latency from the intended send time (see `schedule`).
Closed loop: each connection sends when it has its answer; for CPU per request where wrk is not installed.

A program of its own, so that it runs pinned beside nothing but the origins; prints one JSON object.
One request at a time on a connection. An answer counts by its origin's mark; a failure counts and is not repeated.
"""

import argparse
import asyncio
import gc
import json
import time
from array import array
from collections import Counter, deque
from pathlib import Path
from typing import cast

import uvloop

from benchmarks.figures import percentile
from benchmarks.heads import Heads, parse_templates
from benchmarks.probe import Answer, parse_answer
from benchmarks.schedule import AlarmClock, Schedule

_LEAD_NS = 20_000_000  # from the last connect to the first intended time
_LAST_ANSWERS_S = 2.0  # how long the end waits for answers that are still out
_MICROSECOND_NS = 1000


class _Connection(asyncio.Protocol):
    def __init__(self, load: "_Load") -> None:
        self._load = load
        self._pending = b""
        self.intended_ns: int | None = None  # of the request that is out

    def connection_made(self, transport: asyncio.BaseTransport) -> None:

        self.transport = cast(asyncio.Transport, transport)  # uvloop's own class, which derives from neither

    def send(self, head: bytes, intended_ns: int) -> None:
        self.intended_ns = intended_ns
        self.transport.write(head)

    def data_received(self, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        data = self._pending + data if self._pending else data
        try:
            parsed = parse_answer(data)
        except ValueError:
            self.transport.abort()
            return
        if parsed is None:
            self._pending = data
            return
        answer, length = parsed
        self._pending = data[length:]
        intended_ns, self.intended_ns = self.intended_ns, None
        if intended_ns is None:  # an answer to nothing
            self.transport.abort()
            return
        self._load.answered(self, answer, intended_ns, now_ns)

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.lost(self)


class _Load:
    """What both loops share: connections and the sum of what came back."""

    def __init__(self, heads: Heads) -> None:
        self.heads = heads
        self.origins: Counter[str] = Counter()
        self.refused = self.failed = 0
        self.closing = False

    async def connect(self, port: int, count: int) -> list[_Connection]:
        loop = asyncio.get_running_loop()
        return [(await loop.create_connection(lambda: _Connection(self), "127.0.0.1", port))[1] for _ in range(count)]

    def answered(self, connection: _Connection, answer: Answer, intended_ns: int, now_ns: int) -> None:
        self.origins[answer.origin] += 1
        if answer.status != 200:
            self.refused += 1

    def lost(self, connection: _Connection) -> None:
        if not self.closing:
            self.failed += 1

    def close(self, connections: list[_Connection]) -> None:
        self.closing = True
        for connection in connections:
            connection.transport.close()

    def summary(self, duration_s: float) -> dict[str, object]:
        return {
            "answered": self.origins.total(),
            "duration_s": duration_s,
            "failed": self.failed,
            "refused": self.refused,
            "origins": dict(self.origins),
        }


class ClosedLoop(_Load):
    async def run(self, port: int, connections: int, seconds: float) -> dict[str, object]:
        opened = await self.connect(port, connections)
        start_ns = time.monotonic_ns()
        for connection in opened:
            connection.send(self.heads.next(), start_ns)
        await asyncio.sleep(seconds)
        duration_s = (time.monotonic_ns() - start_ns) / 1e9
        self.close(opened)
        return self.summary(duration_s)

    def answered(self, connection: _Connection, answer: Answer, intended_ns: int, now_ns: int) -> None:
        super().answered(connection, answer, intended_ns, now_ns)
        if not self.closing:
            connection.send(self.heads.next(), now_ns)


class OpenLoop(_Load):
    """A request whose time has come while every connection is busy waits for one, and its latency includes that."""

    async def run(self, port: int, connections: int, seconds: float, rate: int, warm_up_s: float) -> dict[str, object]:
        opened = await self.connect(port, connections)
        self._idle = deque(opened)
        self._waiting: deque[int] = deque()
        self._latencies_ns, self._lags_ns = array("q"), array("q")
        self._sent, self._total = 0, int(rate * (warm_up_s + seconds))
        self._schedule = Schedule(time.monotonic_ns() + _LEAD_NS, rate)
        self._record_from_ns = self._schedule.intended_ns(int(rate * warm_up_s))
        self._ended = asyncio.Event()
        self._clock = AlarmClock()
        self._clock.wake_at(self._schedule.start_ns)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._clock.fd, self._wake)
        planned_s = (self._schedule.intended_ns(self._total) - time.monotonic_ns()) / 1e9
        try:
            await asyncio.wait_for(self._ended.wait(), planned_s + _LAST_ANSWERS_S)
        except TimeoutError:
            self.failed += self._total - self.origins.total()
        finally:
            loop.remove_reader(self._clock.fd)
            self._clock.close()
            self.close(opened)
        measured = len(self._latencies_ns)
        return {
            **self.summary(seconds),
            "measured": measured,
            "latency_us": percentiles_us(self._latencies_ns) if measured else {},
            "send_lag_us": percentiles_us(self._lags_ns) if measured else {},
        }

    def _wake(self) -> None:
        due = min(self._schedule.due(time.monotonic_ns()), self._total)
        while self._sent < due:
            intended_ns = self._schedule.intended_ns(self._sent)
            self._sent += 1
            if self._idle:
                self._send(self._idle.popleft(), intended_ns)
            else:
                self._waiting.append(intended_ns)
        if self._sent < self._total:
            self._clock.wake_at(self._schedule.intended_ns(self._sent))
        else:
            asyncio.get_running_loop().remove_reader(self._clock.fd)

    def _send(self, connection: _Connection, intended_ns: int) -> None:
        head = self.heads.next()
        if intended_ns >= self._record_from_ns:
            self._lags_ns.append(time.monotonic_ns() - intended_ns)
        connection.send(head, intended_ns)

    def answered(self, connection: _Connection, answer: Answer, intended_ns: int, now_ns: int) -> None:
        super().answered(connection, answer, intended_ns, now_ns)
        if intended_ns >= self._record_from_ns:
            self._latencies_ns.append(now_ns - intended_ns)
        if self._waiting:
            self._send(connection, self._waiting.popleft())
        else:
            self._idle.append(connection)
        if self.origins.total() == self._total:
            self._ended.set()

    def lost(self, connection: _Connection) -> None:
        super().lost(connection)
        if connection in self._idle:
            self._idle.remove(connection)


def percentiles_us(values_ns: "array[int]") -> dict[str, float]:
    ordered = sorted(values_ns)
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: percentile(ordered, share) / _MICROSECOND_NS for name, share in shares.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("loop", choices=["open", "closed"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--heads", type=Path, required=True, help="file of templates")
    parser.add_argument("--keys", type=Path, required=True, help="file of routing keys, one a line")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rate", type=int, default=1000, help="open loop: requests per second")
    parser.add_argument("--warm-up", type=float, default=0.2, help="open loop: seconds that are not recorded")
    options = parser.parse_args()
    heads = Heads(parse_templates(options.heads.read_bytes().decode()), options.keys.read_text().split(), options.seed)
    gc.disable()  # a collection would be a pause of ours, reported as the proxy's
    if options.loop == "open":
        run = OpenLoop(heads).run(options.port, options.connections, options.seconds, options.rate, options.warm_up)
    else:
        run = ClosedLoop(heads).run(options.port, options.connections, options.seconds)
    print(json.dumps(uvloop.run(run)))


if __name__ == "__main__":
    main()
