from __future__ import annotations

from controller.documents import rendered
from controller.objectfile import FileReader, ObjectFile, file_name, piece_of
from controller.objects import Object
from tests.support.folder import ref
from tests.support.objects import group, sandbox

STAMP = (1, 2, 3, 4, 5)
ONE, TWO = sandbox("one"), sandbox("two")


def text(*objects: Object) -> bytes:
    return b"---\n".join(rendered(object_.document()) for object_ in objects)


def read(raw: bytes, before: ObjectFile | None = None) -> ObjectFile:
    reader = FileReader(raw, STAMP, before or ObjectFile())
    while reader.step():
        pass
    return reader.file()


def test_one_step_for_each_document() -> None:
    reader = FileReader(text(ONE, TWO), STAMP, ObjectFile())
    assert [reader.step() for _ in range(4)] == [True, True, False, False]
    assert reader.file() == ObjectFile(STAMP, {ONE.ref: ONE, TWO.ref: TWO})


def test_what_is_broken_keeps_its_last_form() -> None:
    before = read(text(ONE, TWO, sandbox("three")))
    broken = text(sandbox("one", key="-"), group("epic"))
    found = read(broken, before)
    assert found.objects == {ONE.ref: ONE, group("epic").ref: group("epic")}
    assert len(found.faults) == 1
    assert found.faults[0].startswith("document 1 (line 1): spec.routingKey: must be ")


def test_where_nobody_knows_what_is_broken_all_that_is_missing_stays() -> None:
    before = read(text(ONE, TWO))
    for broken in (b"a: [", b"kind: Sandbox\n", b"", b" \n"):
        assert read(broken, before).objects == before.objects
        assert len(read(broken, before).faults) >= 1
    both = read(text(sandbox("two", key="new")) + b"---\na: [\n", before)
    assert both.objects == {ONE.ref: ONE, TWO.ref: sandbox("two", key="new")}


def test_nothing_is_no_fault() -> None:
    before = read(text(ONE))
    for nothing in (b"# gone\n", b"---\n", b"---\nnull\n"):
        assert read(nothing, before) == ObjectFile(STAMP)


def test_a_fault_without_a_place_in_a_file_of_one() -> None:
    (fault,) = read(text(sandbox("one", key="-"))).faults
    assert fault.startswith("spec.routingKey: must be ")


def test_where_an_object_stands() -> None:
    raw = b"a: [\n---\n" + text(ONE, sandbox("two", key="-"))
    piece = piece_of(raw, ref("two"))
    assert piece is not None
    assert raw[piece.start : piece.end].strip().startswith(b"apiVersion")
    assert b"name: two" in raw[piece.start : piece.end]
    assert piece_of(raw, ref("three")) is None


def test_names_of_files() -> None:
    assert file_name(ONE.ref) == "hotrod.sandbox.one.yaml"
    assert file_name(group("epic").ref) == "hotrod.routegroup.epic.yaml"
    assert len(file_name(ref("n" * 63, "RouteGroup", "s" * 63))) < 255
