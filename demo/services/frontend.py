"""frontend: what the customer's app talks to. Asks for a car and for its price, both at once."""

from __future__ import annotations

import asyncio
import os

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from demo.services.answer import Answer, answer, failed

app = FastAPI()
upstream = httpx.AsyncClient()


@app.get("/ride")
async def ride(request: Request, customer: str = "42") -> Answer:
    car, fare = await asyncio.gather(
        upstream.get(os.environ["DRIVER_URL"] + "/car", params={"customer": customer}),
        upstream.post(os.environ["PRICING_URL"] + "/fare", json={"customer": customer}),
    )
    found, priced = car.raise_for_status().json(), fare.raise_for_status().json()
    return answer(f"{found['result']}, {priced['result']}", request.headers.get, found, priced)


@app.exception_handler(httpx.HTTPStatusError)
def upstream_failed(request: Request, error: httpx.HTTPStatusError) -> JSONResponse:
    return JSONResponse(failed(str(error.request.url), error.response.status_code, error.response.text), 502)
