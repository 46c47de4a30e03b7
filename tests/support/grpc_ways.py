"""Ways from a client to a server: straight, through the proxy, and with a real Envoy before or behind it.

A test that runs on all of them says that what arrives through us equals what arrives without us; the straight way
shows that the test asks nothing that gRPC itself does not do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.envoy import Route
from tests.support.grpc_envoy import run_http2_envoy
from tests.support.proxy import Proxy, run_proxy

WAYS = ("direct", "proxy", "Envoy before", "Envoy behind")


@dataclass
class Way:
    """Where a client connects. `proxy` is the one in between, if there is one."""

    port: int
    proxy: Proxy | None = None


@contextlib.contextmanager
def way(name: str, folder: Path, server_port: int) -> Iterator[Way]:
    with contextlib.ExitStack() as stack:
        port, proxy = server_port, None
        if name == "Envoy behind":
            (port,) = stack.enter_context(run_http2_envoy(folder, Route(port)))
        if name != "direct":
            proxy = stack.enter_context(run_proxy(folder, port))
            port = proxy.port
        if name == "Envoy before":
            (port,) = stack.enter_context(run_http2_envoy(folder, Route(port)))
        yield Way(port, proxy)
