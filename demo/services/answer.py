"""What every service answers, in any protocol: its result, and enough about itself to tell who did the work.

The process id is the process's own, so a reader need not believe a proxy, or a name, about who answered. `arrived`
repeats the two headers that can carry a routing key, for the demo's tables; no service reads them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Final

Answer = dict[str, object]
Header = Callable[[str], str | None]  # gets a request header, or an item of a call's metadata, by its name

SERVICE: Final = os.environ["SERVICE"]
VERSION: Final = os.environ["VERSION"]  # "baseline", or the name of a sandbox
PORT: Final = int(os.environ["PORT"])


def answer(result: str, header: Header, *calls: Answer) -> Answer:
    """One service's answer round those of the services that it called."""
    return {"result": result} | _about_itself(header, calls)


def failed(url: str, status: int | str, text: str, header: Header, *calls: Answer) -> Answer:
    """What goes with a service's own 502: whom it called, what came back, and the answers of others that it called.

    `text` is such an answer itself if it comes from a service, and anything at all if it comes from a sidecar.
    """
    cause = _failure(text)
    why = cause["error"] if cause else text.strip()
    return {"error": f"{url} answered {status}: {why}"} | _about_itself(header, (cause, *calls) if cause else calls)


def _about_itself(header: Header, calls: tuple[Answer, ...]) -> Answer:
    return {
        "service": SERVICE,
        "version": VERSION,
        "pid": os.getpid(),
        "port": PORT,
        "arrived": {name: header(name) for name in ("baggage", "tracestate") if header(name)},
        "calls": list(calls),
    }


def _failure(text: str) -> Answer | None:
    try:
        said = json.loads(text)
    except ValueError:
        return None
    return said if isinstance(said, dict) and "error" in said else None
