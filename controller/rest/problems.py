"""Errors as application/problem+json (RFC 9457): `type` is stable, for programs; `detail` and `faults` are for people.

| type (urn:pointsman:problem:...) | status | when |
|---|---|---|
| malformed | 400 | a parameter or a body that can't be read; `faults` say where |
| unauthorized | 401 | no token, or none that is known |
| forbidden | 403 | a token whose role or namespaces are not enough |
| foreign | 403 | a request that a browser makes for another site |
| quota | 403 | too many objects of this namespace or owner |
| not-found | 404 | no such object or page |
| method | 405 | |
| too-slow | 408 | the body did not come in time |
| conflict | 409 | the object is not in the state that the writer expected |
| exists | 409 | there is such an object already |
| deleting | 409 | the object is being deleted |
| too-large | 413 | |
| media-type | 415 | |
| invalid | 422 | an object that is refused: each of `faults` begins with the path of what is wrong |
| internal | 500 | |
| not-synced | 503 | the controller has not read its store yet |
| unwritable | 503 | the store can't be written now |
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from aiohttp import web

PREFIX: Final = "urn:pointsman:problem:"
TYPE: Final = web.ResponseKey("problem", str)
MEDIA_TYPE: Final = "application/problem+json"

STATUSES: Final[dict[str, int]] = {
    "malformed": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "foreign": 403,
    "quota": 403,
    "not-found": 404,
    "method": 405,
    "too-slow": 408,
    "conflict": 409,
    "exists": 409,
    "deleting": 409,
    "too-large": 413,
    "media-type": 415,
    "invalid": 422,
    "internal": 500,
    "not-synced": 503,
    "unwritable": 503,
}
_BY_STATUS: Final = {404: "not-found", 405: "method", 413: "too-large", 415: "media-type"}


class Problem(Exception):
    """An answer that is an error."""

    def __init__(
        self, type_: str, detail: str, faults: Sequence[str] = (), headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.type: Final = type_
        self.status: Final = STATUSES[type_]
        self.detail: Final = detail
        self.faults: Final = list(faults)
        self.headers: Final = headers or {}

    def document(self) -> dict[str, object]:
        document: dict[str, object] = {
            "type": PREFIX + self.type,
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.faults:
            document["faults"] = self.faults
        return document

    def response(self) -> web.Response:
        text = json.dumps(self.document()) + "\n"
        response = web.Response(status=self.status, text=text, content_type=MEDIA_TYPE, headers=self.headers)
        response[TYPE] = self.type  # for the audit log
        return response


def problem_of(error: web.HTTPException) -> Problem:
    """What aiohttp refuses by itself, in our form."""
    type_ = _BY_STATUS.get(error.status, "malformed" if error.status < 500 else "internal")
    headers = {name: value for name, value in error.headers.items() if name == "Allow"}
    details = {
        "not-found": "there is no such page: GET /openapi.json lists all",
        "method": f"takes {headers.get('Allow', 'another method')}",
        "too-large": "the body is too large",
    }
    return Problem(type_, details.get(type_, error.reason), headers=headers)
