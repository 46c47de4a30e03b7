"""What `--keep` leaves to try: curl commands, and a file that names every port and process, for people and programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Final

from demo.hops import PATH
from demo.stack import Stack
from demo.topology import ENTRY, FIRST, NAMESPACE, SANDBOXES, SECOND, SERVICES

_POINTSMAN: Final = f"{sys.executable} -m pointsman"


def describe(stack: Stack, file: Path) -> None:
    """Writes the file: JSON, with the controller's URL and the folder of its objects, the first service's URL, and each
    service and sandbox."""
    services = {
        name: asdict(stack.baselines[name])
        | {"sidecar": sidecar.address, "admin": sidecar.admin}
        | {"workload": SERVICES[name].workload, "workload_port": SERVICES[name].port}
        for name, sidecar in stack.sidecars.items()
    }
    sandboxes = {
        name: asdict(instance) | {"routing_key": SANDBOXES[name].routing_key}
        for name, instance in stack.sandboxes.items()
    }
    content = {
        "url": _url(stack),
        "controller": stack.controller.url,
        "folder": str(stack.controller.folder),
        "services": services,
        "sandboxes": sandboxes,
    }
    file.write_text(json.dumps(content, indent=2) + "\n")


def suggestions(stack: Stack) -> Iterator[tuple[str, str]]:
    """Things to try: a sentence and a command that can be pasted."""
    live, gone = (f"'baggage: sd-routing-key={sandbox.routing_key}'" for sandbox in (SECOND, FIRST))
    ride = f"curl -s {_url(stack)}"
    explain = f"curl -s 'http://{stack.sidecars[SECOND.fork_of].admin}/explain?format=text'"
    yield "Nothing but the baseline:", f"{ride} | python3 -m json.tool"
    yield f"{SECOND.name}, by its key:", f"{ride} -H {live}"
    yield f"The key of {FIRST.name}, gone, is refused:", f"{ride} -i -H {gone}"
    yield f"Why {SECOND.fork_of}'s sidecar sends a request where it does:", f"{explain} -d {live}"
    options = f"--controller {stack.controller.url} --namespace {NAMESPACE}"
    yield "Who answered the requests with its key:", f"{_POINTSMAN} sandbox traffic {SECOND.name} {options}"
    yield (
        "A key of your own, live when the command returns:",
        f"sed 's/{SECOND.name}/mine/; s/{SECOND.routing_key}/my-own-key/' {stack.file_of(SECOND)}"
        f" | {_POINTSMAN} sandbox apply -f - --wait {options}; {ride} -H 'baggage: sd-routing-key=my-own-key'",
    )
    yield (
        "A dead sandbox is an error, never silently the baseline; to its gRPC caller, UNAVAILABLE:",
        (f"kill -9 {stack.sandboxes[SECOND.name].pid}; {ride} -H {live}"),
    )


def _url(stack: Stack) -> str:
    return f"http://{stack.sidecars[ENTRY].address}{PATH}"
