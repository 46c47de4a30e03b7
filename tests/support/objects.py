"""Sandboxes and route groups for tests: made by hand in one line, and drawn by hypothesis."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from controller.objects import (
    AllMatch,
    AnyMatch,
    Condition,
    Customizations,
    EndpointStatus,
    EnvChange,
    Fork,
    ImageChange,
    LabelMatch,
    Local,
    LocalMapping,
    Match,
    Metadata,
    Patch,
    PreviewEndpoint,
    RouteGroup,
    RouteGroupSpec,
    Sandbox,
    SandboxSpec,
    Status,
    Ttl,
)
from proxy.routing.names import Endpoint, Workload

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def workload(name: str = "location", namespace: str = "hotrod") -> Workload:
    return Workload(namespace, "Deployment", name)


def local(name: str = "location", port: int = 8081, target: str = "127.0.0.1", target_port: int = 9081) -> Local:
    return Local(workload(name), (LocalMapping(port, Endpoint(target, target_port)),))


def fork(name: str = "location") -> Fork:
    return Fork(workload(name))


def sandbox(
    name: str = "pr-1",
    *changes: Fork | Local,
    key: str | None = "",
    namespace: str = "hotrod",
    labels: dict[str, str] | None = None,
    created: datetime | None = NOON,
    deleted: datetime | None = None,
    grants: tuple[str, ...] = (),
    ttl: Ttl | None = None,
    endpoints: tuple[PreviewEndpoint, ...] = (),
    status: Status | None = None,
) -> Sandbox:
    """One local workload, unless `changes` say otherwise; its name is its key, unless `key` says otherwise."""
    changes = changes or (local(),)
    spec = SandboxSpec(
        name if key == "" else key,
        tuple(change for change in changes if isinstance(change, Fork)),
        tuple(change for change in changes if isinstance(change, Local)),
        endpoints,
        ttl,
        grants,
    )
    metadata = Metadata(
        name,
        namespace,
        labels or {},
        uid=f"uid-{namespace}-{name}",
        generation=1,
        creation_timestamp=created,
        deletion_timestamp=deleted,
    )
    return Sandbox(metadata, spec, status or Status())


def group(
    name: str = "epic",
    match: Match | None = None,
    key: str | None = "",
    namespace: str = "hotrod",
    created: datetime | None = NOON,
    namespaces: tuple[str, ...] = (),
    endpoints: tuple[PreviewEndpoint, ...] = (),
) -> RouteGroup:
    """Matches every sandbox with a label `pr`, unless `match` says otherwise."""
    spec = RouteGroupSpec(match or LabelMatch("pr", "*"), name if key == "" else key, namespaces, endpoints)
    metadata = Metadata(name, namespace, uid=f"uid-{namespace}-{name}", generation=1, creation_timestamp=created)
    return RouteGroup(metadata, spec)


# --- drawn -----------------------------------------------------------------------------------------------------------

_LABEL_KEYS = st.sampled_from(["pr", "team", "example.com/a", "A_b.c"])
_LABEL_VALUES = st.sampled_from(["", "1", "12", "123", "x-1", "X.y_z"])
_NAMES = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
_TIMES = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(lambda time: time.replace(tzinfo=UTC))
_HOSTS = st.sampled_from(["127.0.0.1", "::1", "2001:db8::1", "laptop.dev.example", "Host_1", "a."])
_PORTS = st.integers(1, 65535)
_ENDPOINTS = st.builds(Endpoint, _HOSTS, _PORTS)
_WORKLOADS = st.builds(Workload, _NAMES, st.sampled_from(["Deployment", "StatefulSet"]), _NAMES)
_GENERATIONS = st.none() | st.integers(0, 1 << 62)
_KEYS = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
_SHORT = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=9)
_PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 62), 1 << 62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)
_TTLS = st.builds(Ttl, st.sampled_from(["30s", "4h", "2d", "1w"]), st.sampled_from(["updated", "created"]))
_PREVIEWS = st.lists(
    st.builds(
        PreviewEndpoint,
        st.sampled_from(["web", "api", "a-b"]),
        st.sampled_from(["frontend", "http://frontend.svc:80", "grpc://[::1]:81"]),
    ),
    max_size=2,
    unique_by=lambda endpoint: endpoint.name,
).map(tuple)


@st.composite
def _env(draw: st.DrawFn) -> EnvChange:
    container, name = draw(_NAMES), draw(st.sampled_from(["A", "B_1", "c.d-e"]))
    what = draw(st.sampled_from(["value", "from", "delete"]))
    if what == "value":
        return EnvChange(container, name, value=draw(_TEXT))
    if what == "delete":
        return EnvChange(container, name, "delete")
    source = draw(st.sampled_from([{"fieldRef": {"fieldPath": "a"}}, {"secretKeyRef": {"name": "a", "key": "b"}}]))
    return EnvChange(container, name, value_from=dict(source))


_CUSTOMIZATIONS = st.builds(
    Customizations,
    st.lists(
        st.builds(ImageChange, _NAMES, st.sampled_from(["a", "r:5000/b@c"])),
        max_size=2,
        unique_by=lambda i: i.container,
    ).map(tuple),
    st.lists(_env(), max_size=3, unique_by=lambda change: (change.container, change.name)).map(tuple),
    st.none()
    | st.builds(Patch, st.sampled_from(["strategic", "merge"]), st.dictionaries(_TEXT, _PLAIN, min_size=1, max_size=3))
    | st.builds(Patch, st.just("json"), st.lists(_PLAIN, min_size=1, max_size=3) | _TEXT.filter(bool)),
)
_LOCAL_MAPPINGS = st.lists(
    st.builds(LocalMapping, _PORTS, _ENDPOINTS, st.sampled_from([None, "http", "http2", "grpc"])),
    min_size=1,
    max_size=3,
    unique_by=lambda mapping: mapping.port,
).map(tuple)
_METADATA = st.builds(
    Metadata,
    _NAMES,
    _NAMES,
    st.dictionaries(_LABEL_KEYS, _LABEL_VALUES, max_size=3),
    st.dictionaries(_LABEL_KEYS, _TEXT, max_size=2),
    st.none() | st.uuids().map(str),
    st.none() | st.just("17"),
    _GENERATIONS,
    st.none() | _TIMES,
    st.none() | _TIMES,
    st.lists(_LABEL_KEYS, max_size=2).map(tuple),
)
_STATUSES = st.builds(
    Status,
    st.none() | _KEYS,
    _GENERATIONS,
    st.none() | _TIMES,
    st.none() | _TIMES,
    st.lists(st.builds(EndpointStatus, _SHORT, _SHORT, st.none() | _SHORT), max_size=2).map(tuple),
    st.lists(_SHORT, max_size=2).map(tuple),
    st.lists(
        st.builds(
            Condition, _SHORT, st.sampled_from(["True", "False", "Unknown"]), _SHORT, _TEXT, _TIMES, _GENERATIONS
        ),
        max_size=2,
    ).map(tuple),
)
_MATCHES: st.SearchStrategy[Match] = st.recursive(
    st.builds(LabelMatch, _LABEL_KEYS, st.sampled_from(["*", "1*", "?2", "x-1", ""])),
    lambda inner: (
        st.builds(AnyMatch, st.lists(inner, min_size=1, max_size=3).map(tuple))
        | st.builds(AllMatch, st.lists(inner, min_size=1, max_size=3).map(tuple))
    ),
    max_leaves=5,
)


@st.composite
def _sandbox_specs(draw: st.DrawFn) -> SandboxSpec:
    workloads = draw(st.lists(_WORKLOADS, min_size=1, max_size=4, unique=True))
    cut = draw(st.integers(0, len(workloads)))
    return SandboxSpec(
        draw(st.none() | _KEYS),
        tuple(Fork(workload, draw(_CUSTOMIZATIONS)) for workload in workloads[:cut]),
        tuple(Local(workload, draw(_LOCAL_MAPPINGS)) for workload in workloads[cut:]),
        draw(_PREVIEWS),
        draw(st.none() | _TTLS),
        tuple(draw(st.lists(_NAMES, max_size=2, unique=True))),
    )


# Any sandbox and any route group, as far as the schema goes.
SANDBOXES = st.builds(Sandbox, _METADATA, _sandbox_specs(), _STATUSES)
ROUTE_GROUPS = st.builds(
    RouteGroup,
    _METADATA,
    st.builds(
        RouteGroupSpec,
        _MATCHES,
        st.none() | _KEYS,
        st.lists(_NAMES, max_size=2, unique=True).map(tuple),
        _PREVIEWS,
        st.none() | _TTLS,
    ),
    _STATUSES,
)
OBJECTS = SANDBOXES | ROUTE_GROUPS
