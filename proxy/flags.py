"""The proxy's options, one row each: what may be said, how it is read, its default and the reason for it.

`config` turns them into `Settings`; `pointsman explain` reuses the rows that decide.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from proxy.options import Option, choice, plain, seconds, share, switch, whole
from proxy.routing.key import STRICT_NAME
from proxy.routing.names import Endpoint, Workload, is_host, is_token

# A key's value is the whole of such a field, and it is kept even when `Connection` names it. So no field that carries
# framing or concerns one connection only, none that is rewritten on the way, none that is read otherwise.
_NO_KEY_HEADERS: Final = frozenset(
    {
        *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
        *("content-length", "expect", "host", "http2-settings", "proxy-authenticate", "proxy-authorization"),
        *("baggage", "traceparent", "tracestate"),
        *("pointsman-decision", "pointsman-hop", "proxy-status"),
    }
)


def _endpoint(text: str, low_port: int) -> Endpoint:
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError(f"must be HOST:PORT, is {text!r}")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host:
            raise ValueError(f"only an IPv6 address stands in brackets, is {text!r}")
    elif ":" in host:
        raise ValueError(f"an IPv6 address must stand in brackets, [::1]:8080, is {text!r}")
    if not is_host(host):
        raise ValueError(f"must be HOST:PORT with a name or an address, is {text!r}")
    return Endpoint(host, whole(low_port, 65535)(port))


def listen_endpoint(text: str) -> Endpoint:
    """An address to listen on. Port 0 lets the system choose."""
    return _endpoint(text, 0)


def target_endpoint(text: str) -> Endpoint:
    """An address to connect to."""
    return _endpoint(text, 1)


def admin_endpoint(text: str) -> Endpoint | None:
    """An address to listen on, or none if the text is `off`."""
    return None if text == "off" else listen_endpoint(text)


def key_name(text: str) -> bytes:
    """A member's name in `baggage` and `tracestate`, matched as it is."""
    if not is_token(text.encode()):
        raise ValueError(f"must be a token (RFC 9110 section 5.6.2), is {text!r}")
    if text.encode() == STRICT_NAME:
        raise ValueError(f"must not be {text}, which makes a request strict")
    return text.encode()


def key_header(text: str) -> bytes:
    """A field's name, in lower case, since fields are matched by it."""
    name = text.lower()
    if not is_token(name.encode()):
        raise ValueError(f"must be a field name, is {text!r}")
    if name in _NO_KEY_HEADERS:
        raise ValueError(f"must not be a field that has another meaning, is {text!r}")
    return name.encode()


def auth_header(text: str) -> bytes:
    """A field that says who somebody is; it is taken out, so none that means something to the service."""
    name = key_header(text)
    if name in (b"authorization", b"cookie"):
        raise ValueError(f"must not be a field that applications read too, is {text!r}")
    return name


def network(text: str) -> IPv4Network | IPv6Network:
    """A CIDR; one address is a network of its own."""
    try:
        return ip_network(text)
    except ValueError as error:
        raise ValueError(f"must be a CIDR, e.g. 10.0.0.0/8, is {text!r} ({error})") from None


def controller_url(text: str) -> str:
    """Where a controller answers, without the slash at its end; a path may stand before the feed's own."""
    scheme, _, rest = text.partition("://")
    place, slash, path = rest.partition("/")
    if scheme not in ("http", "https") or not place:
        raise ValueError(f"must be http://HOST:PORT or https://HOST:PORT, is {text!r}")
    if "@" in place:
        raise ValueError("must hold no credentials (--token-file)")
    if _NO_PATH.search(path):
        raise ValueError(f"must be a plain path after HOST:PORT, is {text!r}")
    endpoint = target_endpoint(place if place.rpartition("]")[2].count(":") else f"{place}:{_DEFAULT_PORTS[scheme]}")
    return f"{scheme}://{endpoint}{slash}{path}".rstrip("/")


_NO_PATH: Final = re.compile(r"[^A-Za-z0-9._~/-]")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def address(text: str) -> str:
    """An address without a port."""
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError(f"must be an address, is {text!r}") from None


def dns_server(text: str) -> str:
    """An address, with or without a port."""
    try:
        return str(ip_address(text))
    except ValueError:
        endpoint = target_endpoint(text)
        return str(Endpoint(address(endpoint.host), endpoint.port))


# --- where traffic comes in and goes -------------------------------------------------------------------------------
MODE: Final = Option(
    "mode",
    "sidecar|router",
    choice("sidecar", "router"),
    "sidecar stands before one workload (--baseline, --workload), router before all that the table's services list, "
    "chosen by Host",
    default="sidecar",
    why="every workload can have one, without a mesh",
)
LISTEN: Final = Option(
    "listen",
    "HOST:PORT",
    listen_endpoint,
    "address that callers reach instead of the workload, or a router's; port 0 lets the system choose",
    repeatable=True,
    required=True,
)
BASELINE: Final = Option(
    "baseline",
    "HOST:PORT",
    target_endpoint,
    "address of the workload itself, one for each --listen, in the same order",
    default_text="required in a sidecar; with --transparent the address that was called",
    repeatable=True,
)
BASELINE_PROTOCOL: Final = Option(
    "baseline-protocol",
    "auto|http|http2",
    choice("auto", "http", "http2"),
    "what the baseline speaks: auto is the version that each request came in, http is HTTP/1.1, http2 is HTTP/2 (gRPC "
    "too) without TLS; for sandboxes the table's appProtocol says it",
    default="auto",
    why="what callers of a service speak, the service speaks",
)
WORKLOAD_PORT: Final = Option(
    "workload-port",
    "PORT",
    whole(1, 65535),
    "port whose mappings in the table apply, one for each --listen or none at all",
    default_text="the baseline's port",
    repeatable=True,
)
WORKLOAD: Final = Option(
    "workload",
    "NS/KIND/NAME",
    Workload.parse,
    "workload that this proxy stands before, e.g. hotrod/Deployment/location",
    default_text="required in a sidecar",
)
TRANSPARENT: Final = Option(
    "transparent",
    "",
    switch,
    "serve connections that iptables led to --listen (manifests/capture): the port that they were on their way to is "
    "the workload's port, and its baseline is there, unless --baseline names one for this --workload-port; what is not "
    "HTTP passes as it is",
    default="off",
    why="it needs rules of iptables",
)
DETECT_TIMEOUT: Final = Option(
    "detect-timeout",
    "SECONDS",
    seconds(0.001, 60),
    "with --transparent: how long a caller that says nothing is waited for until the application is connected to, "
    "which may speak first (MySQL, SMTP); requests that come later are still routed if it has not spoken",
    default="0.1",
    why="callers that speak first do so with the handshake's last packet, so this is a hundred round trips in a "
    "cluster; each new connection to a server that speaks first is later by it",
    unit="s",
)
TABLE: Final = Option(
    "table",
    "FILE",
    plain,
    "routing table, YAML or JSON; watched, a valid change is live at once; either this or --controller",
)
CONTROLLER: Final = Option(
    "controller",
    "URL",
    controller_url,
    "controller that the routing table comes from, http://HOST:PORT or https://HOST:PORT; the proxy listens and serves "
    "untagged requests whether it answers or not",
)
TOKEN_FILE: Final = Option(
    "token-file",
    "FILE",
    plain,
    "file with the bearer token that proves to the controller which workload this is; read anew at each connection",
    why="tokens are renewed in place, and must not stand in arguments",
)
CONTROLLER_CA: Final = Option(
    "controller-ca",
    "FILE",
    plain,
    "certificates (PEM) that the controller's is checked against, read anew when the file changes; https only",
    default_text="the system's",
)
STATE_DIR: Final = Option(
    "state-dir",
    "DIR",
    plain,
    "folder where the controller's last good table is kept, so that a proxy that starts while the controller is gone "
    "routes by it, marked stale",
    default_text="none",
    why="it holds this workload's routing keys, so somebody must choose where",
)
SYNC_TIMEOUT: Final = Option(
    "sync-timeout",
    "SECONDS",
    seconds(0),
    "how long /readyz waits for the first table of the controller; tagged requests get 503 until there is one",
    default="10",
    why="a controller that is down must not keep pods from starting",
    unit="s",
)
ADMIN: Final = Option(
    "admin",
    "HOST:PORT|off",
    admin_endpoint,
    "address of /livez /readyz /metrics /table /explain /probe /drain",
    default="127.0.0.1:16020",
    why="loopback: who reaches it can drain the proxy and read the table; beyond it --admin-token-file is required",
)
ADMIN_TOKEN_FILE: Final = Option(
    "admin-token-file",
    "FILE",
    plain,
    "tokens that /table, /explain, /probe and /drain ask for (Authorization: Bearer), on loopback too; one a line, of"
    " at least 16 characters; read again when it changes",
    default_text="none",
)
HEALTH_LISTEN: Final = Option(
    "health-listen",
    "HOST:PORT",
    listen_endpoint,
    "address of /livez /readyz /metrics alone, for kubelet and Prometheus; it may be beyond loopback",
    default_text="none",
)
DESTINATION_ALLOW: Final = Option(
    "destination-allow",
    "CIDR",
    network,
    "where destinations of the table may be, after name resolution; without it anywhere but link-local and metadata "
    "addresses and this proxy's own listeners, which are refused always",
    default_text="anywhere, but loopback only with --table",
    why="a table from a file is the operator's own word, a controller's is others'",
    repeatable=True,
)
IDENTITY_FROM: Final = Option(
    "identity-from",
    "CIDR",
    network,
    "from where x-forwarded-client-cert is believed, e.g. 127.0.0.6/32 for an istio-proxy in the same pod; a router "
    "needs it for services that list their callers",
    default_text="nowhere",
    why="anybody else could write it",
    repeatable=True,
)
UPSTREAM_SOURCE: Final = Option(
    "upstream-source",
    "ADDR",
    address,
    "local address of connections to the baseline, e.g. 127.0.0.6: an application that trusts 127.0.0.1 then does not "
    "trust whoever comes through the proxy",
    default_text="the system's choice",
)
FORWARDED: Final = Option(
    "forwarded",
    "off|append",
    choice("off", "append"),
    "append the caller's address to x-forwarded-for, and x-forwarded-proto where it is absent",
    default="off",
    why="requests stay as they came, and a sidecar is no edge",
)
DNS_SERVER: Final = Option(
    "dns-server",
    "ADDR[:PORT]",
    dns_server,
    "whom to ask for the addresses of destinations",
    default_text="/etc/resolv.conf",
    repeatable=True,
)

# --- how it is decided ---------------------------------------------------------------------------------------------
KEY_NAME: Final = Option(
    "key-name",
    "NAME",
    key_name,
    "name of a baggage or tracestate member that holds the routing key; the order is the precedence",
    default="sd-routing-key,sd-sandbox",
    why="what the SDKs and tests of today send",
    repeatable=True,
)
KEY_HEADER: Final = Option(
    "key-header",
    "FIELD",
    key_header,
    "plain header whose whole value is the routing key, asked after baggage and tracestate",
    default_text="none",
    why="only what is asked for can route",
    repeatable=True,
)
UNKNOWN_KEY: Final = Option(
    "unknown-key",
    "baseline|reject",
    choice("baseline", "reject"),
    "where a key leads that no sandbox has or had",
    default="baseline",
    why="keys of other clusters and of other tools' tests pass through",
)
GONE_KEY: Final = Option(
    "gone-key",
    "reject|baseline",
    choice("reject", "baseline"),
    "where the key of a sandbox leads that was deleted within the hour",
    default="reject",
    why="a test that outlives its sandbox must fail, not test the baseline",
)
ON_SANDBOX_FAILURE: Final = Option(
    "on-sandbox-failure",
    "fail|baseline",
    choice("fail", "baseline"),
    "what follows when no destination of a sandbox answers; baseline never applies to strict requests, nor once a "
    "byte was sent",
    default="fail",
    why="a dead sandbox must not look like a green test",
)
DECISION_HEADER: Final = Option(
    "decision-header",
    "",
    switch,
    "add pointsman-decision (sandbox or baseline, and the reason) to every response",
    default="off",
    why="responses stay as the workload made them",
)

# --- what is told of requests --------------------------------------------------------------------------------------
ACCESS_LOG: Final = Option(
    "access-log",
    "off|json",
    choice("off", "json"),
    "json writes a line for each request that is over",
    default="off",
    why="a line costs about a tenth of a request, and metrics count all of them",
)
ACCESS_LOG_FILE: Final = Option(
    "access-log-file",
    "FILE",
    plain,
    "where these lines go; appended to, and opened anew when it is moved away, or at SIGHUP",
    default_text="stdout",
)
ACCESS_LOG_SAMPLE: Final = Option(
    "access-log-sample",
    "SHARE",
    share,
    "share of the requests that get a line, 0 to 1; those that failed or were refused always do",
    default="1",
    why="whoever asks for a log expects all of it",
)
TRACES: Final = Option(
    "traces",
    "off|otel",
    choice("off", "otel"),
    "otel makes a span of each request that the traceparent's flag, or the sampler, lets through, by the OpenTelemetry "
    "SDK (pip install 'pointsman[traces]'), as OTEL_EXPORTER_OTLP_ENDPOINT and its other variables configure it",
    default="off",
    why="a span costs more than the request, and somebody must collect it",
)

# --- previews (a router's) -----------------------------------------------------------------------------------------
PREVIEW_AUTH: Final = Option(
    "preview-auth",
    "required|off",
    choice("required", "off"),
    "whether a preview asks for --preview-auth-header or a token of --preview-token-file; off opens previews to "
    "whoever reaches the router",
    default="required",
    why="a preview runs code under review, and its address is told in pull requests",
)
PREVIEW_AUTH_HEADER: Final = Option(
    "preview-auth-header",
    "FIELD",
    auth_header,
    "field that a forward-auth or OIDC proxy sets once somebody has logged in, with any value; believed from "
    "--preview-auth-from alone, and never sent on",
    default_text="none",
)
PREVIEW_AUTH_FROM: Final = Option(
    "preview-auth-from",
    "CIDR",
    network,
    "where the proxies are whose --preview-auth-header is believed",
    default_text="nowhere",
    why="whoever reaches the router can write any field",
    repeatable=True,
)
PREVIEW_TOKEN_FILE: Final = Option(
    "preview-token-file",
    "FILE",
    plain,
    "tokens that open previews, one a line, of at least 16 characters; as Authorization: Bearer, or typed into the "
    "login form that browsers get; read again when it changes",
    default_text="none",
)
PREVIEW_SESSION: Final = Option(
    "preview-session",
    "SECONDS",
    seconds(1),
    "how long a browser that logged in by the form needs not do it again, on one host",
    default="43200",
    why="a day's work; a token that is taken out of the file ends it at once",
    unit="s",
)
PREVIEW_SCHEME: Final = Option(
    "preview-scheme",
    "http|https",
    choice("http", "https"),
    "what browsers speak to whatever stands before the router: with https the session cookie is Secure and __Host-, "
    "and services hear it as x-forwarded-proto",
    default="http",
    why="the router itself speaks no TLS",
)

# --- how long ------------------------------------------------------------------------------------------------------
DRAIN_DELAY: Final = Option(
    "drain-delay",
    "SECONDS",
    seconds(0),
    "how long connections are still accepted after SIGTERM, for platforms that learn late",
    default="0",
    why="in a pod the workload's own preStop hook covers it",
    unit="s",
)
DRAIN_TIMEOUT: Final = Option(
    "drain-timeout",
    "SECONDS",
    seconds(0),
    "how long running requests may take to finish after that; an idle proxy leaves at once",
    default="30",
    why="Kubernetes kills 30 s after SIGTERM",
    unit="s",
)
CONNECT_TIMEOUT: Final = Option(
    "connect-timeout",
    "SECONDS",
    seconds(0.001),
    "how long a name's look-up and connecting to one address may take, each; half of it while other addresses are left "
    "to try",
    default="5",
    why="covers two lost SYNs, sent again after 1 s and 3 s; Envoy's default too",
    unit="s",
)
RESPONSE_TIMEOUT: Final = Option(
    "response-timeout",
    "SECONDS",
    seconds(0),
    "how long the response head may take once the whole request is sent; 0 waits for ever",
    default="300",
    why="callers have deadlines of their own and this one only frees what is stuck: Envoy's 15 s or nginx's 60 s would "
    "break long polls that worked without a proxy",
    unit="s",
)
HEAD_TIMEOUT: Final = Option(
    "head-timeout",
    "SECONDS",
    seconds(0.001),
    "how long a request head may take from its first byte to its last",
    default="10",
    why="a head is a packet or a few, so this is many retransmissions; slow-header attacks end",
    unit="s",
)
IDLE_TIMEOUT: Final = Option(
    "idle-timeout",
    "SECONDS",
    seconds(0),
    "how long a downstream connection may stand idle between requests; 0 is for ever",
    default="3600",
    why="far longer than callers keep theirs (mostly 5-90 s): if we closed first, a request could meet the close; "
    "Envoy's default too",
    unit="s",
)
UPSTREAM_IDLE_TIMEOUT: Final = Option(
    "upstream-idle-timeout",
    "SECONDS",
    seconds(0.001),
    "how long an idle upstream connection is kept for the next request",
    default="4",
    why="shorter than common servers keep theirs (uvicorn and Node.js: 5 s): a POST that meets their close is lost, a "
    "new connection costs a fraction of a millisecond",
    unit="s",
)
STREAM_IDLE_TIMEOUT: Final = Option(
    "stream-idle-timeout",
    "SECONDS",
    seconds(0),
    "how long a request or response that has begun may make no progress in either direction; 0 is for ever",
    default="300",
    why="event streams send comments every 15-60 s; Envoy's default too",
    unit="s",
)
TUNNEL_IDLE_TIMEOUT: Final = Option(
    "tunnel-idle-timeout",
    "SECONDS",
    seconds(0),
    "how long a tunnel (WebSocket) may stay silent in both directions; 0 is for ever",
    default="3600",
    why="a tunnel that works without a proxy must work with it: many WebSockets send no pings",
    unit="s",
)

# --- how much ------------------------------------------------------------------------------------------------------
MAX_HEAD_BYTES: Final = Option(
    "max-head-bytes",
    "BYTES",
    whole(1024, 16 * 1024 * 1024),
    "size of a request or response head",
    default="61440",
    why="60 KiB, as Envoy: what passes a mesh passes here; 8 KiB of baggage and as many cookies fit",
    unit="bytes",
)
MAX_FIELDS: Final = Option(
    "max-fields",
    "COUNT",
    whole(1, 100_000),
    "number of fields in a head or in trailers",
    default="100",
    why="as Envoy; real requests have 10-40, and each one costs time",
    unit="fields",
)
MAX_CONNECTIONS: Final = Option(
    "max-connections",
    "COUNT",
    whole(1, 1_000_000),
    "number of downstream connections at once; more get 503 and are closed; lowered, with a line on stderr, to what"
    " fits into the hard limit of open files (ulimit -Hn), which becomes the soft one",
    default="20000",
    why="twice the 10,000 that a busy service holds, and within 80 MB at 4 KB each when idle",
    unit="connections",
)
WORKERS: Final = Option(
    "workers",
    "COUNT",
    whole(1, 64),
    "number of processes that serve requests, on the same sockets; with more than one, another process watches over "
    "them, replaces those that die and has the admin pages; --max-connections is shared out",
    default="1",
    why="one process serves some 40,000 requests a second; each more takes as much memory and fills another core",
    unit="process",
)
MAX_STREAMS: Final = Option(
    "max-streams",
    "COUNT",
    whole(1, 1_000_000),
    "number of requests at once on one downstream HTTP/2 connection; more are refused unread (REFUSED_STREAM)",
    default="1000",
    why="gRPC clients open one connection and queue what goes beyond, so a low limit stalls services that hold streams;"
    " an idle one costs a few KB",
    unit="streams",
)

OPTIONS: Final[tuple[Option[object], ...]] = (
    MODE,
    LISTEN,
    BASELINE,
    BASELINE_PROTOCOL,
    WORKLOAD_PORT,
    WORKLOAD,
    TRANSPARENT,
    DETECT_TIMEOUT,
    TABLE,
    CONTROLLER,
    TOKEN_FILE,
    CONTROLLER_CA,
    STATE_DIR,
    SYNC_TIMEOUT,
    ADMIN,
    ADMIN_TOKEN_FILE,
    HEALTH_LISTEN,
    DESTINATION_ALLOW,
    IDENTITY_FROM,
    UPSTREAM_SOURCE,
    FORWARDED,
    DNS_SERVER,
    KEY_NAME,
    KEY_HEADER,
    UNKNOWN_KEY,
    GONE_KEY,
    ON_SANDBOX_FAILURE,
    DECISION_HEADER,
    ACCESS_LOG,
    ACCESS_LOG_FILE,
    ACCESS_LOG_SAMPLE,
    TRACES,
    PREVIEW_AUTH,
    PREVIEW_AUTH_HEADER,
    PREVIEW_AUTH_FROM,
    PREVIEW_TOKEN_FILE,
    PREVIEW_SESSION,
    PREVIEW_SCHEME,
    DRAIN_DELAY,
    DRAIN_TIMEOUT,
    CONNECT_TIMEOUT,
    RESPONSE_TIMEOUT,
    HEAD_TIMEOUT,
    IDLE_TIMEOUT,
    UPSTREAM_IDLE_TIMEOUT,
    STREAM_IDLE_TIMEOUT,
    TUNNEL_IDLE_TIMEOUT,
    MAX_HEAD_BYTES,
    MAX_FIELDS,
    MAX_CONNECTIONS,
    MAX_STREAMS,
    WORKERS,
)
