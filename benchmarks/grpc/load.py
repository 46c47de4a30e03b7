"""The load: unary calls in a closed loop (each connection keeps so many calls out), or at a fixed rate, or streams that
stay open. A program of its own, so that it runs pinned beside nothing but the origins; prints one JSON object.

At a fixed rate latency counts from the time at which a call was intended to go (see `benchmarks.schedule`).
Calls that become due, or whose predecessor ends, in one turn of the loop go out in one write per connection.

`streams` opens streams of a bidirectional method, sends one message on each and waits for one answer, prints `open`,
and keeps them so until its standard input ends. Then it ends them in order.
"""

import argparse
import asyncio
import gc
import json
import sys
import time
from array import array
from pathlib import Path

import uvloop

from benchmarks.grpc import calls
from benchmarks.grpc.client import Connection, Tally, connect
from benchmarks.load import percentiles_us
from benchmarks.schedule import AlarmClock, Schedule

_LEAD_NS = 20_000_000  # from the last connect to the first intended time
_LAST_ANSWERS_S = 3.0  # how long the end waits for answers that are still out
_OPENING = 32  # streams of a connection that wait for their first answer


class _Load:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.tally = Tally()
        self.closing = False
        keys = options.keys.read_text().split() if options.tagged else []
        self._values = calls.values(options.style, keys, options.seed)
        self._empty = asyncio.Event()
        self._flying = 0

    async def connect(self) -> list[Connection]:
        more = self.options.port, self.tally, self.ended, self.options.style, self._values
        return [await connect(*more) for _ in range(self.options.connections)]

    def call(self, connection: Connection, number: int = 0, *, is_last: bool = True) -> None:
        self._flying += 1
        connection.call(number, is_last=is_last)

    def ended(self, connection: Connection, number: int) -> None:
        self._flying -= 1
        if not self._flying:
            self._empty.set()

    async def last_answers(self) -> None:
        if self._flying:
            self._empty.clear()
            try:
                await asyncio.wait_for(self._empty.wait(), _LAST_ANSWERS_S)
            except TimeoutError:
                self.tally.failed["no answer"] += self._flying

    def summary(self, opened: list[Connection], duration_s: float) -> dict[str, object]:
        for connection in opened:
            connection.transport.close()
        tally = self.tally
        return {
            "answered": tally.origins.total() + tally.refused.total(),
            "duration_s": duration_s,
            "failed": tally.failed.total(),
            "refused": tally.refused.total(),
            "origins": dict(tally.origins),
            "why": {**tally.failed, **tally.refused, **({"GOAWAY": tally.goaways} if tally.goaways else {})},
        }


class ClosedLoop(_Load):
    async def run(self) -> dict[str, object]:
        opened = await self.connect()
        self._ending = False
        start_ns = time.monotonic_ns()
        for connection in opened:
            for _ in range(min(self.options.calls, connection.most_streams)):
                self.call(connection)
            connection.flush()
        await asyncio.sleep(self.options.seconds)
        self._ending = True
        duration_s = (time.monotonic_ns() - start_ns) / 1e9
        await self.last_answers()
        return self.summary(opened, duration_s)

    def ended(self, connection: Connection, number: int) -> None:
        super().ended(connection, number)
        if not self._ending and not connection.leaving and not connection.lost:
            self.call(connection)


class FixedRate(_Load):
    """Connections take calls in turn. One that has as many streams as its peer allows makes the round fail: at such a
    rate the target does not keep up."""

    async def run(self) -> dict[str, object]:
        options = self.options
        self._opened = await self.connect()
        self._latencies_ns, self._lags_ns = array("q"), array("q")
        self._sent, self._total = 0, int(options.rate * options.seconds)
        self._schedule = Schedule(time.monotonic_ns() + _LEAD_NS, options.rate)
        self._all_sent = asyncio.Event()
        self._clock = AlarmClock()
        self._clock.wake_at(self._schedule.start_ns)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._clock.fd, self._wake)
        await self._all_sent.wait()
        loop.remove_reader(self._clock.fd)
        self._clock.close()
        await self.last_answers()
        return {
            **self.summary(self._opened, options.seconds),
            "measured": len(self._latencies_ns),
            "latency_us": percentiles_us(self._latencies_ns) if self._latencies_ns else {},
            "send_lag_us": percentiles_us(self._lags_ns) if self._lags_ns else {},
        }

    def _wake(self) -> None:
        now_ns = time.monotonic_ns()
        due = min(self._schedule.due(now_ns), self._total)
        touched = set()
        while self._sent < due:
            connection = self._opened[self._sent % len(self._opened)]
            intended_ns = self._schedule.intended_ns(self._sent)
            self._sent += 1
            if connection.lost or connection.leaving or len(connection.flying) >= connection.most_streams:
                self.tally.failed["no connection that takes the call"] += 1
                continue
            self._lags_ns.append(now_ns - intended_ns)
            self.call(connection, intended_ns)
            touched.add(connection)
        for connection in touched:
            connection.flush()
        if self._sent < self._total:
            self._clock.wake_at(self._schedule.intended_ns(self._sent))
        else:
            self._all_sent.set()

    def ended(self, connection: Connection, number: int) -> None:
        super().ended(connection, number)
        self._latencies_ns.append(time.monotonic_ns() - number)


class Streams(_Load):
    async def run(self) -> dict[str, object]:
        options = self.options
        opened = await self.connect()
        start_ns = time.monotonic_ns()
        if any(connection.most_streams < options.calls for connection in opened):
            allowed = min(connection.most_streams for connection in opened)
            self.tally.failed[f"the target allows {allowed:,} streams on a connection"] += 1
            return self.summary(opened, 0.0)
        for first in range(0, options.calls, _OPENING):
            wanted = min(first + _OPENING, options.calls)
            for connection in opened:
                for _ in range(first, wanted):
                    self.call(connection, is_last=False)
                connection.flush()
            if not await self._answered(opened, wanted):
                self.tally.failed["no answer on a stream"] += self._flying
                return self.summary(opened, 0.0)
        print("open", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        for connection in opened:
            for stream in list(connection.flying):
                connection.end(stream)
            connection.flush()
        await self.last_answers()
        return self.summary(opened, (time.monotonic_ns() - start_ns) / 1e9)

    async def _answered(self, opened: list[Connection], wanted: int) -> bool:
        deadline = time.monotonic() + _LAST_ANSWERS_S
        while any(connection.answered_streams < wanted for connection in opened):
            if time.monotonic() > deadline or any(connection.lost for connection in opened):
                return False
            await asyncio.sleep(0.001)
        return True


LOOPS: dict[str, type[ClosedLoop] | type[FixedRate] | type[Streams]] = {
    "closed": ClosedLoop,
    "rate": FixedRate,
    "streams": Streams,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("loop", choices=LOOPS)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--keys", type=Path, required=True, help="file of routing keys, one a line")
    parser.add_argument("--tagged", action="store_true", help="calls carry one of the keys")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--style", choices=calls.STYLES, default="core")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--calls", type=int, default=16, help="calls or streams that are out on each connection")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rate", type=int, default=10_000, help="calls per second in all")
    options = parser.parse_args()
    gc.disable()  # a collection would be a pause of ours, reported as the proxy's
    print(json.dumps(uvloop.run(LOOPS[options.loop](options).run())))


if __name__ == "__main__":
    main()
