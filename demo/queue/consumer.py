"""A consumer of orders: the baseline's, or a sandbox's with `--sandbox NAME`. The same code runs as both.

Each has a durable consumer of its own on the stream, so each sees every message, and takes only its own. A message that
is another's is acknowledged and forgotten: that is the acknowledgement of this durable consumer alone.

What must not be processed is put aside, where a test finds it: an order of a sandbox that was deleted, or one that
asked to be strict and has no sandbox.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from typing import Final

import nats
from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.client import JetStreamContext

from demo.queue.messages import DONE, ORDERS, STREAM, Done, passed_on
from pointsman.routes import NotSynced, RoutesClient

_SYNC_TIMEOUT_S: Final = 30.0
_AGAIN_S: Final = 0.5


class Consumer:
    def __init__(self, name: str, routes: RoutesClient, stream: JetStreamContext) -> None:
        self._name: Final = name
        self._routes: Final = routes
        self._stream: Final = stream

    async def handle(self, message: Msg) -> None:
        headers = message.headers or {}
        try:
            decision = await asyncio.to_thread(self._routes.decide, headers)  # it may ask the controller
        except NotSynced:
            await message.nak(delay=_AGAIN_S)  # not ours to decide yet: it comes again
            return
        if decision.takes:
            how = "aside" if decision.is_refused else "processed"
            done = Done(message.data.decode(), self._name, how, decision.reason)
            await self._stream.publish(DONE, done.encode(), headers=passed_on(headers))
        await message.ack()


async def consume(broker: str, controller: str, workload: str, sandbox: str | None) -> None:
    """Until SIGTERM."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    name = sandbox or "baseline"
    with RoutesClient(controller, workload=workload, sandbox=sandbox) as routes:
        if not await asyncio.to_thread(routes.wait_synced, _SYNC_TIMEOUT_S):
            raise SystemExit(f"{name}: no rules from {controller}: {routes.fault}")
        connection = await nats.connect(broker)
        try:
            stream = connection.jetstream()
            # A sandbox has no business with what was sent before it was there.
            policy = DeliverPolicy.ALL if sandbox is None else DeliverPolicy.NEW
            await stream.subscribe(
                ORDERS,
                durable=name,
                stream=STREAM,
                cb=Consumer(name, routes, stream).handle,
                manual_ack=True,
                config=ConsumerConfig(deliver_policy=policy),
            )
            print(f"{name}: consuming", flush=True)
            await stopped.wait()
        finally:
            await connection.drain()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m demo.queue.consumer")
    parser.add_argument("--broker", required=True)
    parser.add_argument("--controller", required=True)
    parser.add_argument("--workload", required=True)
    parser.add_argument("--sandbox")
    arguments = parser.parse_args()
    asyncio.run(consume(arguments.broker, arguments.controller, arguments.workload, arguments.sandbox))
    return 0


if __name__ == "__main__":
    sys.exit(main())
