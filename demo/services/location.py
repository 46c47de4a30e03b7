"""location: knows where customers stand, and asks how long a car takes to get there. Sandboxes fork this service.

`ENTRANCE` is the change that a sandbox tries out: the place names the entrance.
"""

from __future__ import annotations

import os

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from demo.services.answer import Answer, answer, failed

app = FastAPI()
upstream = httpx.AsyncClient()


@app.get("/pickup")
async def pickup(request: Request, customer: str) -> Answer:
    entrance = os.environ.get("ENTRANCE")
    place = f"1 Market Street ({entrance} entrance)" if entrance else "1 Market Street"
    response = await upstream.get(os.environ["ROUTE_URL"] + "/eta", params={"to": place})
    eta = response.raise_for_status().json()
    return answer(f"{place} {eta['result']}", request.headers.get, eta)


@app.exception_handler(httpx.HTTPStatusError)
def upstream_failed(request: Request, error: httpx.HTTPStatusError) -> JSONResponse:
    return JSONResponse(failed(str(error.request.url), error.response.status_code, error.response.text), 502)
