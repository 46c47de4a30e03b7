"""`pointsman explain --controller URL`: where a request would go by the table that the controller has now.

The controller decides by its own code; this sends the head and prints the answer as `explain --table` prints its own.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from pointsman.cli.exits import FINE, OTHER, Failure
from pointsman.cli.flags import HEADER, PORT, WORKLOAD
from pointsman.cli.objects import entries
from pointsman.cli.run import Call
from proxy.routing.explain import Explanation, MemberLine


def explain(call: Call) -> int:
    lines = ["GET / HTTP/1.1"]
    lines += [b": ".join(field).decode("utf-8", "surrogateescape") for field in call.values.present(HEADER)]
    question: dict[str, object] = {
        "workload": str(call.values.one(WORKLOAD)),
        "head": "".join(f"{line}\r\n" for line in [*lines, ""]),
    }
    for port in call.values.present(PORT):
        question["port"] = port
    document = call.client.call("POST", "/api/v1/explain", question).document
    call.console.document(document)
    call.console.result(_explanation(document).to_text().rstrip("\n"))
    return FINE


def _explanation(document: object) -> Explanation:
    """The answer as the value that it was made of; fields of later releases are passed over."""
    known: dict[str, Any] = {}
    if isinstance(document, dict):
        known = {field.name: document[field.name] for field in fields(Explanation) if field.name in document}
        names = [field.name for field in fields(MemberLine)]
        members = [entry for entry in entries(document, "members") if isinstance(entry, dict)]
        known["members"] = tuple(MemberLine(**{name: entry[name] for name in names}) for entry in members)
    try:
        return Explanation(**known)
    except TypeError as error:
        raise Failure(OTHER, f"the controller's explanation can't be read: {error}") from None
