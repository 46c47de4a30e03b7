"""Sockets to listen on."""

from __future__ import annotations

import asyncio
import socket

import pytest

from controller.listening import ListenError, bind, url_of
from proxy.routing.names import Endpoint


def test_each_address_of_a_name_has_the_same_port() -> None:
    sockets = asyncio.run(bind(Endpoint("localhost", 0)))
    try:
        assert len({each.getsockname()[1] for each in sockets}) == 1
        for each in sockets:
            with socket.create_connection(each.getsockname()[:2], timeout=5):
                pass
    finally:
        for each in sockets:
            each.close()


def test_a_taken_port_and_a_host_that_is_none() -> None:
    (taken,) = asyncio.run(bind(Endpoint("127.0.0.1", 0)))
    with taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=rf"127\.0\.0\.1:{port} can't be listened on: Address already in use"):
            asyncio.run(bind(Endpoint("127.0.0.1", port)))
    with pytest.raises(ListenError, match=r"192\.0\.2\.1:1 can't be listened on"):
        asyncio.run(bind(Endpoint("192.0.2.1", 1)))


def test_urls() -> None:
    (listening,) = asyncio.run(bind(Endpoint("127.0.0.1", 0)))
    with listening:
        port = listening.getsockname()[1]
        assert url_of(listening, is_tls=False) == f"http://127.0.0.1:{port}"
        assert url_of(listening, is_tls=True) == f"https://127.0.0.1:{port}"
