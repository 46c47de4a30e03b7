"""One request and what became of it: its hops, as told by those who saw it.

Three witnesses tell of each hop, and none of them knows of the others: the process that answered (its version, id and
port), the sidecar before it (its counters, which also say why), and the routing header that arrived. Where they
contradict each other there is a doubt, and no step of the demo holds while there is one.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from demo.client import Response, get
from demo.sidecar import Decision
from demo.stack import Instance, Stack
from demo.topology import ENTRY, chain

PATH: Final = "/ride"

NOBODY: Final = "nobody"
NO_KEY: Final = "-"
_REASON: Final = re.compile(r"\breason=(\w+)")
_KEY: Final = re.compile(r"(?:^|,)\s*sd-routing-key=([^,;]*)")


@dataclass(frozen=True, slots=True)
class Hop:
    """A service, or at least its sidecar, that the request came to: one row of the demo's tables."""

    depth: int
    service: str
    answered_by: str  # a version, or NOBODY
    why: str  # the sidecar's reason
    arrived: str  # the header that brought a key to the service, and the key; or NO_KEY


@dataclass(frozen=True, slots=True)
class Journey:
    status: int
    result: str
    hops: tuple[Hop, ...]
    doubts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one process said of itself (see services/answer.py)."""

    depth: int
    service: str
    version: str
    pid: int
    port: int
    arrived: str


def send(stack: Stack, headers: Mapping[str, str]) -> Journey:
    """Sends a request to the first service of the chain, then asks the witnesses. Raises: NoResponse."""
    before = {name: sidecar.counted() for name, sidecar in stack.sidecars.items()}
    response = get(stack.sidecars[ENTRY].address, PATH, headers)
    counted = {name: sidecar.counted() - before[name] for name, sidecar in stack.sidecars.items()}
    said = _json_object(response.body)
    answers = list(_answers(said))
    return Journey(
        response.status,
        str(said.get("result") or said.get("error") or response.body.strip()),
        tuple(_hops(answers, counted)),
        (*_doubts(stack.instances(), answers, counted), *_doubts_of_header(response, counted[ENTRY])),
    )


def _hops(answers: Iterable[Answer], counted: Mapping[str, Counter[Decision]]) -> Iterator[Hop]:
    by_service = {answer.service: answer for answer in answers}
    for depth, service in chain():
        answer, decisions = by_service.get(service), counted[service]
        if answer or decisions:
            version, arrived = (answer.version, answer.arrived) if answer else (NOBODY, NO_KEY)
            why = ", ".join(decision.reason for decision in decisions.elements()) or "not counted"
            yield Hop(depth, service, version, why, arrived)


def _doubts(
    instances: Collection[Instance], answers: Collection[Answer], counted: Mapping[str, Counter[Decision]]
) -> Iterator[str]:
    for answer in answers:
        if Instance(answer.service, answer.version, answer.port, answer.pid) not in instances:
            yield f"{answer.service}: process {answer.pid} says that it is {answer.version}, and is not"
        sent_to = [decision.version for decision in counted[answer.service].elements()]
        if sent_to != [answer.version]:
            yield f"{answer.service}: {answer.version} answered, its sidecar counted {', '.join(sent_to) or 'nothing'}"
    for depth, service in Counter((answer.depth, answer.service) for answer in answers) - Counter(chain()):
        yield f"{service}: answered at depth {depth}, where nobody should have asked it"


def _doubts_of_header(response: Response, counted: Counter[Decision]) -> Iterator[str]:
    header = response.headers.get("pointsman-decision", "")
    reasons = [decision.reason for decision in counted.elements()]
    if _REASON.findall(header) != reasons:
        yield f"{ENTRY}: pointsman-decision is {header!r}, its sidecar counted {', '.join(reasons) or 'nothing'}"


def _json_object(body: str) -> Mapping[str, Any]:
    """Empty for what no service says: a sidecar's own answer, for one."""
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _answers(said: Mapping[str, Any], depth: int = 0) -> Iterator[Answer]:
    """The answer and those in it, in the order of the calls."""
    if "version" in said:
        yield Answer(depth, said["service"], said["version"], said["pid"], said["port"], _arrived(said["arrived"]))
        for call in said["calls"]:
            yield from _answers(call, depth + 1)


def _arrived(headers: Mapping[str, str]) -> str:
    for name in ("baggage", "tracestate"):
        if found := _KEY.search(headers.get(name, "")):
            return f"{name}: {found[1]}"
    return NO_KEY
