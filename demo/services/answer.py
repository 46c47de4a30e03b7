"""What every service answers, in any protocol: its result, and enough about itself to tell who did the work.

The process id is the process's own, so a reader need not believe a proxy, or a name, about who answered. `arrived`
repeats the two headers that can carry a routing key, for the demo's tables; no service reads them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

Answer = dict[str, object]

SERVICE: Final = os.environ["SERVICE"]
VERSION: Final = os.environ["VERSION"]  # "baseline", or the name of a sandbox
PORT: Final = int(os.environ["PORT"])


def answer(result: str, header: Callable[[str], str | None], *calls: Answer) -> Answer:
    """One service's answer round those of the services that it called. `header` gets a request header by its name."""
    return {
        "result": result,
        "service": SERVICE,
        "version": VERSION,
        "pid": os.getpid(),
        "port": PORT,
        "arrived": {name: header(name) for name in ("baggage", "tracestate") if header(name)},
        "calls": list(calls),
    }


def failed(url: str, status: int, text: str) -> Answer:
    """The body of a service's own 502: what it called, and what came back instead of an answer."""
    return {"service": SERVICE, "error": f"{url} answered {status}: {text.strip()}"}
