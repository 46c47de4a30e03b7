"""How the demo tells what happened: plain text of at most 96 columns, coloured a little on a terminal.

NO_COLOR (no-color.org) and a dumb terminal are respected.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from textwrap import fill, indent
from typing import Final

from demo.controller import Done
from demo.hops import NOBODY, Hop, Journey
from demo.scenario import Step
from demo.topology import BASELINE, SERVICES

_WIDTH: Final = 96
_COLUMNS: Final = "  {:<16}{:<10}{:<16}{:<16}{}"

_BOLD, _DIM, _RED, _GREEN = "1", "2", "31", "32"
_COLOURED: Final = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def say(text: str = "") -> None:
    print(text, flush=True)


def paragraph(text: str, first: str = "", rest: str = "") -> None:
    say(_filled(text, first, rest))


def heading(text: str) -> None:
    say(_coloured(text, _BOLD))


def command(done: Done, why: str = "") -> None:
    """What was typed, and what it printed."""
    say()
    if why:
        heading(why)
    say(_coloured(f"  $ {done.command}", _BOLD))
    for line in done.output.rstrip().splitlines():
        margin = "  " + " " * (len(line) - len(line.lstrip()))
        say(
            line
            if not line
            else _filled(line.strip(), margin, margin + "  ")
            if len(line) > _WIDTH - 2
            else f"  {line}"
        )


def outcome(number: int, step: Step, journey: Journey, faults: Iterable[str]) -> None:
    """One request: what was sent, what came back, the table of its hops, and whether that is right."""
    say()
    heading(f"{number}. {step.title}")
    for name, value in step.headers.items():
        say(f"  > {name}: {value}")
    paragraph(f"{journey.status} {journey.result}", first="  < ", rest="    ")
    say()
    say(_coloured(_COLUMNS.format("service", "protocol", "answered by", "why", "key arrived in"), _DIM))
    for hop in journey.hops:
        say(_row(hop))
    say()
    verdict(faults)


def verdict(faults: Iterable[str]) -> None:
    """Each fault, or that there is none."""
    lines = [_filled(f"NOT AS IT SHOULD BE: {fault}", rest="  ") for fault in faults]
    say(indent("\n".join(_coloured(line, _RED) for line in lines) or _coloured("As it should be.", _GREEN), "  "))


def conclusion(outcomes: Sequence[tuple[Step, bool]], elapsed_s: float) -> None:
    """What may be said after all steps: for each that held, what it proves."""
    say()
    heading("What this proved")
    for step, held in outcomes:
        if held:
            paragraph(step.proves, first="  - ", rest="    ")
    failed = [str(number) for number, (_, held) in enumerate(outcomes, 1) if not held]
    if failed:
        say(_coloured(f"  Not proved: {', '.join(failed)}. See there what went wrong.", _RED))
    say(f"{len(outcomes) - len(failed)} of {len(outcomes)} requests went as they should, in {elapsed_s:.1f} s.")


def broken(text: str) -> None:
    """Why the demo could not be carried through; the text may be several lines."""
    say(_coloured(f"\nIT DID NOT WORK: {text}", _RED))


def _filled(text: str, first: str = "", rest: str = "") -> str:
    return fill(text, _WIDTH - 2, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)


def _row(hop: Hop) -> str:
    name = "  " * hop.depth + hop.service
    row = _COLUMNS.format(name, SERVICES[hop.service].protocol, hop.answered_by, hop.why, hop.arrived)
    if hop.answered_by == NOBODY:
        return _coloured(row, _RED)
    return row if hop.answered_by == BASELINE else _coloured(row, _GREEN)


def _coloured(text: str, code: str) -> str:
    return f"\033[{code}m{text}\033[0m" if _COLOURED else text
