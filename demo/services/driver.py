"""driver: knows the drivers. Asks where the customer stands and sends a car there."""

from __future__ import annotations

import os

import requests
from flask import Flask, request

from demo.services.answer import Answer, answer, failed

app = Flask(__name__)


@app.get("/car")
def car() -> Answer | tuple[Answer, int]:
    response = requests.get(os.environ["LOCATION_URL"] + "/pickup", params=request.args, timeout=10)
    if not response.ok:
        return failed(response.url, response.status_code, response.text), 502
    pickup = response.json()
    return answer(f"Asha picks you up at {pickup['result']}", request.headers.get, pickup)
