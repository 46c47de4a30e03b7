"""route: knows the roads. Calls nobody. A sandbox forks this service too, behind the gRPC call.

`MINUTES` is the change that the sandbox tries out.
"""

from __future__ import annotations

import os

from flask import Flask, request

from demo.services.answer import Answer, answer

app = Flask(__name__)


@app.get("/eta")
def eta() -> Answer:
    return answer(f"in {os.environ.get('MINUTES', '4')} minutes", request.headers.get)
