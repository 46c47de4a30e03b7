"""A real Envoy that speaks HTTP/2 on both sides, to stand before or behind the proxy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import envoy

# As its guide for edge proxies advises: by default one stream may fill its connection's window, and stall all others.
WINDOWS = {"initial_stream_window_size": 65536, "initial_connection_window_size": 1048576}


def over_http2(document: dict[str, Any], requests: int = 0) -> dict[str, Any]:
    """The configuration with HTTP/2 by prior knowledge in place of HTTP/1.1, on both sides.

    After so many `requests` a connection is ended by GOAWAY.
    """
    resources = document["static_resources"]
    for listener in resources["listeners"]:
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        manager["codec_type"] = "HTTP2"
        manager["http2_protocol_options"] = WINDOWS
        manager["stream_idle_timeout"] = "0s"
        if requests:
            manager["common_http_protocol_options"] = {"max_requests_per_connection": requests}
            manager["drain_timeout"] = "0.1s"
    for cluster in resources["clusters"]:
        options = cluster["typed_extension_protocol_options"][envoy.HTTP_OPTIONS]
        options["explicit_http_config"] = {"http2_protocol_options": WINDOWS}
    return document


@contextlib.contextmanager
def run_http2_envoy(folder: Path, *routes: envoy.Route, requests: int = 0) -> Iterator[list[int]]:
    """As `run_envoy`, over HTTP/2."""
    plain = envoy.document
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(envoy, "document", lambda routes: over_http2(plain(routes), requests))
        with envoy.run_envoy(folder, *routes) as ports:
            yield ports
