"""pricing: knows what a ride costs. Calls nobody."""

from __future__ import annotations

from flask import Flask, request

from demo.services.answer import Answer, answer

app = Flask(__name__)


@app.post("/fare")
def fare() -> Answer:
    return answer("for 12.50", request.headers.get)
