"""A table with previews, and what their visitors send."""

from __future__ import annotations

from tests.support.proxy import KEY, route, service, table

DOMAIN = "preview.example"
HOST = f"web--{KEY}.{DOMAIN}"
TOKEN = "a-token-of-the-team"
BEARER = f"Authorization: Bearer {TOKEN}"
LOGIN = "/.well-known/pointsman/preview"
UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
)


def preview(endpoint: str, upstream: tuple[str, int], **more: object) -> dict[str, object]:
    return {"domain": DOMAIN, "endpoint": endpoint, "upstream": {"host": upstream[0], "port": upstream[1]}, **more}


def document(baseline: int, sandbox: int, version: str = "1", **more: object) -> dict[str, object]:
    listed: dict[str, object] = {
        "services": [
            service("location", "location.hotrod.svc", upstream=baseline),
            service("ported", upstream=baseline, upstream_host="127.0.0.1"),
            service("ported", upstream=1, upstream_host="127.0.0.1"),
        ],
        "previews": [
            preview("web", ("location.hotrod.svc", 80)),
            preview("api-v2", ("location", 8080)),
            preview("other", ("127.0.0.1", baseline)),
            preview("web", ("127.0.0.1", baseline), routingKey="special"),
            preview("port", ("ported", 2)),
        ],
        "liveKeys": ["live", "special"],
        "goneKeys": ["gone"],
    }
    return table(route(KEY, [sandbox]), version=version, **{**listed, **more})
