"""The services behind the proxies: one origin is the baseline, another stands for every sandbox.

They answer alike but for the mark in `x-origin`, and each counts its requests. So after every round we know where the
requests went, without any cost to the load generator. nginx serves where it is installed; elsewhere this file is the
origin too, run as a program: `python -m benchmarks.origin --mark sandbox --port 1 --count-port 2`.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import uvloop

from benchmarks import nginx, probe
from benchmarks.processes import Child, free_port

BASELINE, SANDBOX = "baseline", "sandbox"
BODY = '{"id":1,"name":"Rachel\'s Floral Designs","coordinates":"115,277","eta_s":240,"zone":"north"}'


class Origin:
    """One running origin."""

    def __init__(
        self,
        mark: str,
        *,
        cpus: frozenset[int],
        folder: Path,
        use_nginx: bool,
        body_bytes: int = 0,
        module: str = "benchmarks.origin",
    ) -> None:
        """`body_bytes`: a body of this size in place of the usual one, by nginx only. `module`: the program, else."""
        self.mark, self.port, self._count_port = mark, free_port(), free_port()
        self._asked = 0
        home = folder / f"origin-{mark}"
        home.mkdir()
        if use_nginx:
            config = home / "nginx.conf"
            file = home / "body"
            file.write_bytes(b"x" * body_bytes)
            answer = "rewrite ^ /body break;" if body_bytes else f"return 200 '{nginx.quoted(BODY)}';"
            config.write_text(nginx.origin_config(mark, answer, self.port, self._count_port, home))
            command = nginx.command(config)
        else:
            ports = ["--port", str(self.port), "--count-port", str(self._count_port)]
            command = [sys.executable, "-m", module, "--mark", mark, *ports]
        self.child = Child(command, cpus=cpus, log=home / "log", cwd=Path(__file__).parent.parent)
        self._counts_as_nginx = use_nginx

    def count(self) -> int:
        """Requests received so far, our own questions for the count taken off again."""
        body = probe.ask(self._count_port, b"GET /count HTTP/1.1\r\nHost: origin\r\n\r\n").body
        if not self._counts_as_nginx:
            return int(body)
        self._asked += 1
        return nginx.requests_counted(body) - self._asked


class _Answering(asyncio.Protocol):
    """Requests without a body, one after another: what our generators send."""

    served = 0

    def __init__(self, response: bytes) -> None:
        self._response = response
        self._pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:

        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class, which derives from neither

    def data_received(self, data: bytes) -> None:
        data = self._pending + data if self._pending else data
        heads = data.count(b"\r\n\r\n")
        if heads:
            _Answering.served += heads
            self._transport.write(self._response * heads)
        self._pending = data[data.rfind(b"\r\n\r\n") + 4 :] if heads else data


class Counting(_Answering):
    """Answers with the number of requests that another port has served."""

    def __init__(self, served: Callable[[], int]) -> None:
        super().__init__(b"")
        self._served = served

    def data_received(self, data: bytes) -> None:
        body = str(self._served())
        self._transport.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())


def run_origin(answering: Callable[[str], Callable[[], asyncio.BaseProtocol]], served: Callable[[], int]) -> None:
    """The program of an origin. `answering` makes connections that answer with a mark, `served` counts the answers."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mark", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count-port", type=int, required=True)
    options = parser.parse_args()
    uvloop.run(_serve(answering(options.mark), served, options.port, options.count_port))


async def _serve(
    answering: Callable[[], asyncio.BaseProtocol], served: Callable[[], int], port: int, count_port: int
) -> None:
    loop = asyncio.get_running_loop()
    counting_server = await loop.create_server(lambda: Counting(served), "127.0.0.1", count_port)
    # Last: who gets an answer here takes the origin for started.
    server = await loop.create_server(answering, "127.0.0.1", port, backlog=1024)
    async with server, counting_server:
        await asyncio.Event().wait()


def _answering(mark: str) -> Callable[[], asyncio.BaseProtocol]:
    response = (
        f"HTTP/1.1 200 OK\r\nServer: origin\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n"
        f"Connection: keep-alive\r\nX-Origin: {mark}\r\n\r\n{BODY}"
    ).encode()
    return lambda: _Answering(response)


if __name__ == "__main__":
    run_origin(_answering, lambda: _Answering.served)
