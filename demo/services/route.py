"""route: knows the roads. Calls nobody."""

from __future__ import annotations

from flask import Flask, request

from demo.services.answer import Answer, answer

app = Flask(__name__)


@app.get("/eta")
def eta() -> Answer:
    return answer("in 4 minutes", request.headers.get)
