"""`python -m demo.queue`: a queue, a baseline and a sandbox of its consumer, and who takes which message.

Exit codes: 0 each message was taken by the right one alone, 1 not so, 128 + its number if a signal came before the end.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from demo.processes import DemoError, Interrupted, Processes
from demo.queue.scenario import Expected, Producer, after, before, faults, producing
from demo.queue.stack import SANDBOX, QueueStack


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m demo.queue", description="Consumers take only their own messages.")
    parser.add_argument("--copies", type=int, default=20, help="how many messages of each kind (default: 20)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pointsman-queue-") as folder, Processes(Path(folder)) as processes:
        try:
            return asyncio.run(_run(QueueStack(processes, Path(folder)), arguments.copies))
        except Interrupted as interrupted:
            print(f"{interrupted}.")
            return 128 + interrupted.number
        except (DemoError, TimeoutError) as error:
            print(f"failed: {error or 'messages were not taken in time'}")
            return 1


async def _run(stack: QueueStack, copies: int) -> int:
    stack.start()
    async with producing(stack.broker) as producer:
        stack.consume()
        key = stack.apply()
        stack.consume(SANDBOX)
        print(f"Sandbox {SANDBOX} of the consumer has the routing key {key}.")
        wrong = await _show(producer, before(key, SANDBOX), copies)
        stack.delete()
        print(f"\nSandbox {SANDBOX} is deleted; its consumer still runs.")
        wrong += await _show(producer, after(key), copies)
    print()
    for text in wrong:
        print(f"WRONG: {text}")
    if not wrong:
        print(f"Each of {producer.sent} messages was taken by the right consumer, and by no other.")
    return 1 if wrong else 0


async def _show(producer: Producer, steps: Sequence[Expected], copies: int) -> list[str]:
    names = await producer.send(steps, copies, ("baseline", SANDBOX))
    wrong: list[str] = []
    for step, sent in zip(steps, names, strict=True):
        takers = {
            f"{done.consumer}: {done.how} ({done.reason})" for name in sent for done in producer.done.get(name, [])
        }
        print(f"  {copies} x {step.what:27} {step.baggage or '':44} {', '.join(sorted(takers)) or 'nobody'}")
        wrong += faults(step, sent, producer.done)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
