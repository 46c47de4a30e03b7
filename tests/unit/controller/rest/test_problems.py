"""Errors in one form."""

from __future__ import annotations

import json
import re

import pytest
from aiohttp import web

from controller.rest import problems
from controller.rest.problems import MEDIA_TYPE, STATUSES, Problem, problem_of


@pytest.mark.parametrize("type_", STATUSES)
def test_each(type_: str) -> None:
    response = Problem(type_, "because", ["a: b"], {"X-More": "1"}).response()
    assert (response.status, response.content_type) == (STATUSES[type_], MEDIA_TYPE)
    assert response.headers["X-More"] == "1"
    document = json.loads(response.text or "")
    assert document["type"] == f"urn:pointsman:problem:{type_}"
    assert document["faults"] == ["a: b"]
    assert document["title"]


def test_the_table_at_the_top_is_the_one_in_force() -> None:
    rows = re.findall(r"^\| ([a-z-]+) \| (\d+) \|", problems.__doc__ or "", re.MULTILINE)
    assert {name: int(status) for name, status in rows} == STATUSES


def test_what_aiohttp_refuses() -> None:
    refused = problem_of(web.HTTPMethodNotAllowed("PATCH", ["GET", "PUT"]))
    assert (refused.type, refused.headers) == ("method", {"Allow": "GET,PUT"})
    assert problem_of(web.HTTPNotFound()).type == "not-found"
    assert problem_of(web.HTTPRequestEntityTooLarge(1, 2)).type == "too-large"
    assert problem_of(web.HTTPBadRequest()).type == "malformed"
    assert problem_of(web.HTTPBadGateway()).type == "internal"
