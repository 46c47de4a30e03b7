"""Properties of compilation: the order of objects and the number of compilations change nothing, and what the SPEC says
of keys holds for any history."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.allow import AllowList
from controller.compile import Compilation, Compiler, Settings, compile_objects
from controller.memory import KeyMemory, read_memory
from controller.objects import AllMatch, AnyMatch, LabelMatch, Object, Ref, RouteGroup, Sandbox
from proxy.routing.names import Workload
from proxy.routing.wire import read_document
from tests.support.objects import NOON, fork, group, local, sandbox, workload

QUICK = settings(deadline=None, max_examples=300, derandomize=True)
SETTINGS = Settings(AllowList(["127.0.0.0/8"]), "p.example")
KNOWN = {workload("a"): frozenset({8081}), workload("b"): frozenset({1, 2})}

# Few of everything, so that objects meet.
_NAMESPACES = st.sampled_from(["x", "y"])
_KEYS = st.sampled_from(["k", "l", "m", None])
_CREATED = st.sampled_from([NOON, NOON + timedelta(seconds=1), NOON - timedelta(days=1), None])
_LABELS = st.fixed_dictionaries({"pr": st.sampled_from(["1", "12"])}, optional={"team": st.sampled_from(["1", "12"])})
_CHANGES = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from([1, 8081]), st.sampled_from(["127.0.0.1", "10.0.0.1"])),
    min_size=1,
    max_size=2,
    unique_by=lambda change: change[0],
)
_MATCHES = st.sampled_from(
    [
        LabelMatch("pr", "*"),
        LabelMatch("pr", "1*"),
        AnyMatch((LabelMatch("pr", "12"), LabelMatch("team", "1"))),
        AllMatch((LabelMatch("pr", "*"), LabelMatch("team", "?"))),
    ]
)


@st.composite
def sandboxes(draw: st.DrawFn) -> Sandbox:
    changes = [
        fork(name) if draw(st.integers(0, 4)) == 0 else local(name, port, target)
        for name, port, target in draw(_CHANGES)
    ]
    return sandbox(
        draw(st.sampled_from(["s", "t"])),
        *changes,
        key=draw(_KEYS),
        namespace=draw(_NAMESPACES),
        labels=draw(_LABELS),
        created=draw(_CREATED),
        deleted=NOON if draw(st.integers(0, 5)) == 0 else None,
        grants=draw(st.sampled_from([(), ("x", "y")])),
    )


@st.composite
def groups(draw: st.DrawFn) -> RouteGroup:
    return group(
        draw(st.sampled_from(["g", "h"])),
        draw(_MATCHES),
        draw(_KEYS),
        draw(_NAMESPACES),
        draw(_CREATED),
        draw(st.sampled_from([("x", "y"), ()])),
    )


OBJECTS = sandboxes() | sandboxes() | groups()
SOME = st.lists(OBJECTS, max_size=8, unique_by=lambda object_: object_.ref)
TIMES = st.integers(0, 90).map(lambda minutes: timedelta(minutes=minutes))
# What happens: an object comes or changes, one goes, workloads become known, or time passes and all is compiled.
HISTORY = st.lists(
    OBJECTS | OBJECTS.map(lambda object_: object_.ref) | st.booleans() | TIMES | TIMES, min_size=4, max_size=40
)


def applied(memory: dict[str, KeyMemory], compilation: Compilation) -> dict[str, KeyMemory]:
    """The memory with what the compilation changed in it."""
    changed = {**memory, **compilation.memory}
    return {key: record for key, record in changed.items() if record is not None}


class History:
    """A compiler with all that happened to it; `full` is what one compilation of everything gives instead."""

    def __init__(self) -> None:
        self.compiler = Compiler(SETTINGS)
        self.objects: dict[Ref, Object] = {}
        self.known: dict[Workload, frozenset[int]] | None = None
        self.now: datetime = NOON
        self.memory: dict[str, KeyMemory] = {}
        self.memory_before = self.memory

    def happens(self, event: object) -> tuple[Compilation, Compilation] | None:
        if isinstance(event, Sandbox | RouteGroup):
            before = self.objects.get(event.ref)
            status = before.status if before is not None else event.status
            self.objects[event.ref] = replace(event, status=status)
            self.compiler.put(event)
        elif isinstance(event, Ref):
            self.objects.pop(event, None)
            self.compiler.delete(event)
        elif isinstance(event, bool):
            self.known = dict(KNOWN) if event else None
            self.compiler.set_workloads(self.known)
        else:
            assert isinstance(event, timedelta)
            self.now += event
            full = compile_objects(
                self.objects.values(),
                self.memory,
                self.now,
                SETTINGS,
                self.known,
            )
            found = self.compiler.compile(self.now)
            for ref, status in found.statuses.items():
                self.objects[ref] = replace(self.objects[ref], status=status)
            self.memory_before, self.memory = self.memory, applied(self.memory, found)
            return found, full
        return None


@QUICK
@given(st.data(), SOME)
def test_any_order_equals_any_order(data: st.DataObject, objects: list[Object]) -> None:
    first = compile_objects(objects, None, NOON, SETTINGS)
    second = compile_objects(data.draw(st.permutations(objects)), None, NOON, SETTINGS)
    assert first.table.document() == second.table.document()
    assert first.statuses == second.statuses
    assert first.memory == second.memory


@QUICK
@given(HISTORY)
def test_many_compilations_equal_one(events: list[object]) -> None:
    history = History()
    for event in [*events, timedelta()]:
        compilations = history.happens(event)
        if compilations is not None:
            found, full = compilations
            assert found.version == full.version
            assert found.table.document() == full.table.document()
            assert found.statuses == full.statuses
            assert history.compiler.memory() == history.memory
            assert applied(history.memory_before, full) == history.memory


@QUICK
@given(HISTORY)
def test_what_changed_is_all_that_changed(events: list[object]) -> None:
    """A feed that follows `keys` has the table."""
    history = History()
    states: dict[str, object] = {}
    version = ""
    for event in [*events, timedelta()]:
        compilations = history.happens(event)
        if compilations is None:
            continue
        found = compilations[0]
        assert bool(found.keys) == (found.version != version) or version == ""
        version = found.version
        for state in found.keys:
            assert states.get(state.key) != state
            states[state.key] = state
            if not state.is_known:
                del states[state.key]
        table = found.table
        routes = [route for key in sorted(states) for route in states[key].routes]  # type: ignore[attr-defined]
        assert list(table.routes) == routes
        assert table.live == {key.encode() for key, state in states.items() if state.is_live}  # type: ignore[attr-defined]
        assert table.gone == {key.encode() for key, state in states.items() if state.is_gone}  # type: ignore[attr-defined]


@QUICK
@given(HISTORY)
def test_every_table_is_one(events: list[object]) -> None:
    """Whatever the objects, the proxy's own strict reader takes the table, and the memory can be kept."""
    history = History()
    for event in [*events, timedelta()]:
        compilations = history.happens(event)
        if compilations is not None:
            document = compilations[0].table.document()
            assert read_document(document).document() == document
    for record in history.memory.values():
        assert read_memory(record.document()) == record


@QUICK
@given(HISTORY)
def test_whose_a_key_is(events: list[object]) -> None:
    """Against the rules written down plainly: who may have a key, who has it, how long it is gone."""
    history = History()
    known: dict[str, tuple[str, datetime | None]] = {}  # key -> whose, and until when it is gone
    for event in [*events, timedelta()]:
        compilations = history.happens(event)
        if compilations is None:
            continue
        table, now = compilations[0].table, history.now
        for key in ("k", "l", "m"):
            namespace, until = known.pop(key, (None, None))
            if until is not None and until <= now:
                namespace = None
            claimants = [
                each
                for each in history.objects.values()
                if each.spec.routing_key == key and each.metadata.deletion_timestamp is None
            ]
            eligible = [each for each in claimants if namespace in (None, each.metadata.namespace)]
            owner = min(eligible, key=_age, default=None)
            assert [each for each in claimants if each.status.routing_key == key] == ([owner] if owner else [])
            if owner is not None:
                known[key] = (owner.metadata.namespace, None)
            elif namespace is not None:
                known[key] = (namespace, until or now + timedelta(hours=1))
        assert table.live == {key.encode() for key, (_, until) in known.items() if until is None}
        assert table.gone == {key.encode() for key, (_, until) in known.items() if until is not None}


def _age(object_: Object) -> tuple[datetime, str, str, str]:
    created = object_.metadata.creation_timestamp or datetime.max.replace(tzinfo=UTC)
    return created, object_.metadata.namespace, object_.metadata.name, object_.ref.kind
