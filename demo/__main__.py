"""`python -m demo [--keep]`: starts everything, sends requests, tells what came of them, stops everything.

Exit codes: 0 all was as it should be, 1 something was not, 2 bad arguments or missing packages, 128 + its number if a
signal came before the end. With `--keep` a signal is the end.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from demo import hops, keep, report
from demo.client import NoResponse
from demo.controller import NOT_SO
from demo.processes import DemoError, Interrupted, Processes
from demo.scenario import AFTER, BEFORE, Step
from demo.stack import Stack
from demo.topology import BEHIND, FIRST, PENDING, SECOND

_REQUIREMENTS: Final = Path(__file__).with_name("requirements.txt")
_KEEP_POLL_S: Final = 0.1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m demo", description="Requests through services behind sidecars.")
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    arguments = parser.parse_args()
    if missing := list(missing_packages()):
        sys.stderr.write(f"demo: {', '.join(missing)} missing: pip install -r {_REQUIREMENTS}\n")
        return 2
    folder = Path(tempfile.mkdtemp(prefix="pointsman-demo-"))
    code = _run(folder, is_kept=arguments.keep)
    if code == 1:
        report.say(f"All processes are stopped; their logs are in {folder}")
    else:
        shutil.rmtree(folder)
        report.say("All processes are stopped.")
    return code


def missing_packages() -> Iterator[str]:
    for name in re.findall(r"^[\w-]+", _REQUIREMENTS.read_text(), re.MULTILINE):
        try:
            distribution(name)
        except PackageNotFoundError:
            yield name


def _run(folder: Path, *, is_kept: bool) -> int:
    """The exit code. When it returns, or raises, no process is left."""
    with Processes(folder) as processes:
        stack = Stack(processes, folder)
        try:
            _start(stack)
            is_proved = _demonstrate(processes, stack)
            if is_kept:
                _keep(processes, stack, folder / "demo.json")
        except Interrupted as interrupted:
            report.say(f"\n{interrupted}.")
            return 128 + interrupted.number
        except (DemoError, NoResponse) as error:
            report.broken(str(error))
            return 1
        is_clean = _stop(processes, stack)
    return 0 if is_proved and is_clean else 1


def _start(stack: Stack) -> None:
    report.heading("Pointsman's demo: requests through a chain of services, each behind its own sidecar")
    report.say()
    report.say("  client > frontend > driver > location > route        location by gRPC, the others by HTTP/1.1")
    report.say("                    > pricing")
    report.say()
    report.paragraph(
        f"Sandboxes {FIRST.name} and {SECOND.name} are changed copies of {FIRST.fork_of}, {BEHIND.name} of "
        f"{BEHIND.fork_of}. Starting everything ..."
    )
    started = time.monotonic()
    stack.start()
    report.say(f"All answer after {time.monotonic() - started:.1f} s.")


def _demonstrate(processes: Processes, stack: Stack) -> bool:
    """Sends everything and tells; whether all was as it should be."""
    started, since = time.monotonic(), datetime.now(UTC).isoformat(timespec="milliseconds")
    report.command(stack.apply(FIRST, "--wait"), "It returns when every sidecar routes by it:")
    report.command(stack.apply(BEHIND, "--wait"))
    report.command(stack.apply(PENDING), "This one has nothing that could answer yet:")
    outcomes = list(_take(processes, stack, 1, BEFORE))
    report.command(stack.run("sandbox", "verify", FIRST.name, "--since", since), "Was it really the sandbox?")
    report.command(stack.apply(SECOND, "--wait"), f"Now {SECOND.name} comes, and {FIRST.name} goes:")
    report.command(stack.run("sandbox", "delete", FIRST.name, "--wait"))
    outcomes += _take(processes, stack, len(BEFORE) + 1, AFTER)
    report.command(stack.run("sandbox", "traffic", SECOND.name), "Who answered the requests with its key?")
    report.command(stack.run("sandbox", "verify", SECOND.name, "--since", since))
    report.command(
        stack.run("sandbox", "verify", PENDING.name, "--since", since, code=NOT_SO),
        "And a test that no sandbox answered does not pass for one:",
    )
    report.conclusion(outcomes, time.monotonic() - started)
    return all(held for _, held in outcomes)


def _take(processes: Processes, stack: Stack, first: int, steps: Sequence[Step]) -> Iterator[tuple[Step, bool]]:
    """Each step, and whether it held."""
    for number, step in enumerate(steps, first):
        processes.pause(0)  # notices a signal
        journey = hops.send(stack, step.headers)
        faults = step.faults(journey)
        report.outcome(number, step, journey, faults)
        yield step, not faults


def _keep(processes: Processes, stack: Stack, file: Path) -> None:
    """Returns at the first signal."""
    keep.describe(stack, file)
    report.say()
    report.heading("Everything keeps running until Ctrl-C. To try:")
    for text, command in keep.suggestions(stack):
        report.say(f"  {text}\n    {command}")
    report.say(f"Ports, processes and the controller's address: {file}")
    gone: set[str] = set()
    with suppress(Interrupted):
        while True:
            processes.pause(_KEEP_POLL_S)
            for name in set(processes.ended()) - gone:
                report.say(f"{name} has ended.")
                gone.add(name)


def _stop(processes: Processes, stack: Stack) -> bool:
    """Stops everything; whether every sidecar drained, which it tells by ending with 0."""
    codes = processes.stop()
    unclean = {name: codes[name] for name in (sidecar.name for sidecar in stack.sidecars.values()) if codes[name] != 0}
    if unclean:
        report.broken(f"sidecars that did not end with 0 when asked to stop: {unclean}")
    return not unclean


if __name__ == "__main__":
    sys.exit(main())
