"""location: knows where customers stand, and asks how long a car takes to get there. Sandboxes fork this service.

It speaks gRPC, so it is its own server: `python -m demo.services.location`. `ENTRANCE` is the change that a sandbox
tries out: the place names the entrance.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc  # type: ignore[import-untyped]
import requests

from demo.services import rpc
from demo.services.answer import PORT, Answer, answer, failed


def pickup(message: dict[str, str], context: Any) -> Answer:
    header = dict(context.invocation_metadata()).get
    entrance = os.environ.get("ENTRANCE")
    place = f"1 Market Street ({entrance} entrance)" if entrance else "1 Market Street"
    response = requests.get(os.environ["ROUTE_URL"] + "/eta", params={"to": place}, timeout=10)
    if not response.ok:
        failure = failed(response.url, response.status_code, response.text, header)
        context.abort(grpc.StatusCode.UNAVAILABLE, json.dumps(failure))
    eta = response.json()
    return answer(f"{place} {eta['result']}", header, eta)


def serve() -> None:
    method = grpc.unary_unary_rpc_method_handler(
        pickup, request_deserializer=rpc.from_bytes, response_serializer=rpc.to_bytes
    )
    server = grpc.server(ThreadPoolExecutor(), options=[("grpc.so_reuseport", 0)])  # a taken port is an error
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(rpc.SERVICE, {rpc.METHOD: method})])
    server.add_insecure_port(f"127.0.0.1:{PORT}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    serve()
