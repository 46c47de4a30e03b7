"""A service on aiohttp that calls the next one: `python -m tests.support.relay PORT PROPAGATORS [NEXT]`.

It passes trace headers on by OpenTelemetry's own propagators, those that are named (`tracecontext,baggage`, or `none`).
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

from aiohttp import ClientSession, web
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tests.support.waiting import until

_PROPAGATORS = {"tracecontext": TraceContextTextMapPropagator, "baggage": W3CBaggagePropagator}


def application(propagators: str, called: str | None) -> web.Application:
    propagator = CompositePropagator([_PROPAGATORS[name]() for name in propagators.split(",") if name != "none"])

    async def answer(request: web.Request) -> web.Response:
        if called is None or request.path == "/health":
            return web.Response(text="ok")
        fields: dict[str, str] = {}
        propagator.inject(fields, propagator.extract(dict(request.headers)))
        async with ClientSession() as session, session.get(called, headers=fields) as response:
            return web.Response(status=response.status, text=await response.text())

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    return app


@contextlib.contextmanager
def relay(port: int, propagators: str, called: str | None = None) -> Iterator[int]:
    """A running one, on this port."""
    command = [sys.executable, "-m", "tests.support.relay", str(port), propagators, *([called] if called else [])]
    process = subprocess.Popen(command)
    try:
        until(lambda: _is_up(port), "the service", within_s=30)
        yield port
    finally:
        process.terminate()
        process.wait(15)


def _is_up(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as response:
            return int(response.status) == 200
    except OSError:
        return False


if __name__ == "__main__":
    web.run_app(
        application(sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        print=lambda *_: None,
    )
