"""A small client of a Kubernetes API server, on the standard library: JSON in, JSON out, whatever the status."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from tests.support.waiting import until

Object = dict[str, Any]

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"  # JSON is YAML

MANAGER = "tests"  # the field manager of what a test writes without another name


class Refused(AssertionError):
    """An answer that is no success, where the test counted on one."""

    def __init__(self, answer: Answer, asked: str) -> None:
        super().__init__(f"{asked}: {answer.status} {answer.message}")
        self.answer = answer


@dataclass(frozen=True)
class Answer:
    """What the server said. `object` is the object, the list, or the Status of a failure."""

    status: int
    headers: Mapping[str, str]
    object: Object

    @property
    def is_ok(self) -> bool:
        return self.status < 300

    @property
    def reason(self) -> str:
        """Of a failure: NotFound, Conflict, Invalid, ..."""
        return str(self.object.get("reason", ""))

    @property
    def message(self) -> str:
        return str(self.object.get("message", ""))


@dataclass(frozen=True)
class Resource:
    """How a kind is asked for."""

    group_version: str
    plural: str
    is_namespaced: bool


@dataclass
class Client:
    """One user's connection. Not for several threads: each takes a `client()` of its own."""

    url: str
    authority: str  # the certificate's file
    token: str | None
    timeout_s: float = 30
    _resources: dict[str, dict[str, Resource]] = field(default_factory=dict)
    _connection: http.client.HTTPSConnection | None = None

    # --- one request ---

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = JSON,
        headers: Mapping[str, str] | None = None,
        **query: str,
    ) -> Answer:
        """Any request; bytes go as they are, everything else as JSON."""
        sent = {"Accept": JSON, **(headers or {})}
        if self.token is not None:
            sent["Authorization"] = f"Bearer {self.token}"
        if body is not None:
            sent["Content-Type"] = content_type
            if not isinstance(body, bytes):
                body = json.dumps(body).encode()
        target = path + (f"?{urlencode(query)}" if query else "")
        connection = self._connected()
        try:
            connection.request(method, target, body, sent)
            response = connection.getresponse()
            text = response.read()
        except (http.client.HTTPException, OSError):
            self.close()
            raise
        return Answer(response.status, dict(response.getheaders()), _object(text))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> http.client.HTTPSConnection:
        if self._connection is None:
            parts = urlsplit(self.url)
            assert parts.hostname is not None
            context = ssl.create_default_context(cafile=self.authority)
            self._connection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=self.timeout_s, context=context
            )
        return self._connection

    # --- where objects are ---

    def resource(self, api_version: str, kind: str) -> Resource:
        """By the server's own discovery, once for each group and version."""
        known = self._resources.get(api_version, {})
        if kind not in known:
            known = self._resources[api_version] = self._discovered(api_version)
        assert kind in known, f"the server has no {kind} in {api_version}: {', '.join(sorted(known))}"
        return known[kind]

    def _discovered(self, api_version: str) -> dict[str, Resource]:
        path = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        answer = self.ask("GET", path)
        if not answer.is_ok:
            raise Refused(answer, f"discovery of {api_version}")
        return {
            row["kind"]: Resource(api_version, row["name"], row["namespaced"])
            for row in answer.object["resources"]
            if "/" not in row["name"]
        }

    def path(
        self, api_version: str, kind: str, namespace: str | None = None, name: str | None = None, subresource: str = ""
    ) -> str:
        resource = self.resource(api_version, kind)
        words = [f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"]
        if resource.is_namespaced and namespace is not None:
            words += ["namespaces", quote(namespace)]
        words += [resource.plural, *([quote(name)] if name else []), *([subresource] if subresource else [])]
        return "/".join(words)

    def path_of(self, document: Object, *, with_name: bool = True) -> str:
        """Of an object that says its own kind, namespace and name."""
        metadata = document["metadata"]
        name = metadata["name"] if with_name else None
        return self.path(document["apiVersion"], document["kind"], metadata.get("namespace", "default"), name)

    # --- what tests do with objects; each answers whatever the server said ---

    def create(self, document: Object, *, dry_run: bool = False, manager: str = MANAGER) -> Answer:
        path = self.path_of(document, with_name=False)
        return self.ask("POST", path, document, fieldManager=manager, **_dry(dry_run))

    def replace(self, document: Object, *, dry_run: bool = False, manager: str = MANAGER) -> Answer:
        """PUT: with a resourceVersion in it, only if that is the current one."""
        return self.ask("PUT", self.path_of(document), document, fieldManager=manager, **_dry(dry_run))

    def apply(self, document: Object, *, dry_run: bool = False, manager: str = MANAGER, force: bool = False) -> Answer:
        """Server-side apply."""
        query = {"fieldManager": manager, "force": str(force).lower(), **_dry(dry_run)}
        return self.ask("PATCH", self.path_of(document), document, content_type=APPLY_PATCH, **query)

    def patch(
        self,
        document: Object,
        patch: Sequence[Object] | Object,
        *,
        dry_run: bool = False,
        manager: str = MANAGER,
        content_type: str | None = None,
    ) -> Answer:
        """A list is a JSON patch, an object a merge patch."""
        if content_type is None:
            content_type = MERGE_PATCH if isinstance(patch, dict) else JSON_PATCH
        path = self.path_of(document)
        return self.ask("PATCH", path, patch, content_type=content_type, fieldManager=manager, **_dry(dry_run))

    def get(self, document: Object) -> Answer:
        return self.ask("GET", self.path_of(document))

    def delete(self, document: Object, **options: Any) -> Answer:
        """`options`: those of DeleteOptions, propagationPolicy for one."""
        return self.ask("DELETE", self.path_of(document), options or None)

    def list(self, api_version: str, kind: str, namespace: str | None = None, **query: str) -> list[Object]:
        answer = self.ask("GET", self.path(api_version, kind, namespace), **query)
        if not answer.is_ok:
            raise Refused(answer, f"list of {kind}")
        items: list[Object] = answer.object["items"]
        return items

    # --- the same, where nothing but success will do ---

    def must(self, answer: Answer, asked: str = "the request") -> Object:
        """The object of a successful answer."""
        if not answer.is_ok:
            raise Refused(answer, asked)
        return answer.object

    def current(self, document: Object) -> Object:
        """The object as the server has it now."""
        return self.must(self.get(document), f"GET {self.path_of(document)}")

    def until_gone(self, document: Object, within_s: float = 30) -> None:
        until(lambda: self.get(document).status == 404, f"the end of {self.path_of(document)}", within_s=within_s)


def _object(text: bytes) -> Object:
    """Not everything is JSON: /readyz answers `ok`."""
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {"message": text.decode(errors="replace")}
    return found if isinstance(found, dict) else {"message": text.decode()}


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}
