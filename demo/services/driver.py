"""driver: knows the drivers. Asks where the customer stands, by gRPC, and sends a car there."""

from __future__ import annotations

import os

import grpc  # type: ignore[import-untyped]
from flask import Flask, request

from demo.services import rpc
from demo.services.answer import Answer, answer, failed

LOCATION = os.environ["LOCATION_URL"]

app = Flask(__name__)
# One connection for all calls, whatever key they carry.
pickup_of = grpc.insecure_channel(LOCATION).unary_unary(
    rpc.PATH, request_serializer=rpc.to_bytes, response_deserializer=rpc.from_bytes
)


@app.get("/car")
def car() -> Answer | tuple[Answer, int]:
    try:
        pickup = pickup_of({"customer": request.args["customer"]}, timeout=10)
    except grpc.RpcError as error:
        return failed(LOCATION + rpc.PATH, error.code().name, error.details(), request.headers.get), 502
    return answer(f"Asha picks you up at {pickup['result']}", request.headers.get, pickup)
