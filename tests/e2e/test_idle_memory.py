"""What an idle keep-alive connection costs (SPEC 7: 4 KB each), also after a request that was large."""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path

import pytest

from tests.support.client import Client, get
from tests.support.origin import running
from tests.support.proxy import run_proxy
from tests.support.wire import WireOrigin, answers

COUNT = 1000


@pytest.mark.parametrize("baggage", ["user=ann", "user=" + "x" * 8000])
def test_idle_connections(tmp_path: Path, baggage: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4 * COUNT:
        pytest.skip(f"needs {4 * COUNT} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    origin = WireOrigin()
    request = get("/", f"baggage: {baggage}")
    with running(origin), run_proxy(tmp_path, origin.port) as proxy, contextlib.ExitStack() as stack:

        def ask(count: int) -> None:
            for _ in range(count):
                client = stack.enter_context(contextlib.closing(Client(proxy.port)))
                client.send(request)
                received = b""
                while not answers(received, is_head=False)[0]:
                    received += client.socket.recv(4096)

        ask(100)  # what is imported or allocated once
        assert proxy.metric("pointsman_downstream_connections") == 100
        before = proxy.rss_bytes()
        ask(COUNT)
        assert proxy.metric("pointsman_downstream_connections") == 100 + COUNT
        each = (proxy.rss_bytes() - before) / COUNT
        assert each < 4096
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
