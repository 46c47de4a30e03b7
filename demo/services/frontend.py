"""frontend: what the customer's app talks to. Asks for a car and for its price, both at once."""

from __future__ import annotations

import asyncio
import os

import httpx
from fastapi import FastAPI, Request, Response

from demo.services.answer import Answer, answer, failed

app = FastAPI()
upstream = httpx.AsyncClient()


@app.get("/ride")
async def ride(request: Request, response: Response, customer: str = "42") -> Answer:
    came = await asyncio.gather(
        upstream.get(os.environ["DRIVER_URL"] + "/car", params={"customer": customer}),
        upstream.post(os.environ["PRICING_URL"] + "/fare", json={"customer": customer}),
    )
    if bad := next((one for one in came if not one.is_success), None):
        response.status_code = 502
        good = [one.json() for one in came if one.is_success]
        return failed(str(bad.url), bad.status_code, bad.text, request.headers.get, *good)
    car, fare = (one.json() for one in came)
    return answer(f"{car['result']}, {fare['result']}", request.headers.get, car, fare)
