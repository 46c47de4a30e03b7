from pathlib import Path

from benchmarks.convergence.farm import Farm
from controller.objects import Sandbox
from controller.schema import read_object
from proxy.routing.text import parse_text


def _declared(folder: Path) -> dict[str, Sandbox]:
    found = [read_object(parse_text(file.read_bytes())) for file in folder.glob("*.yaml")]
    return {each.metadata.name: each for each in found if isinstance(each, Sandbox)}


def test_what_is_written_is_what_a_step_says(tmp_path: Path) -> None:
    farm = Farm(tmp_path, 50, (9000, 9001))
    farm.fill()
    assert len(_declared(tmp_path)) == 50
    for step in farm.steps(30, firsts=2):
        before = _declared(tmp_path)
        farm.write(step)
        after = _declared(tmp_path)
        name = step.sandbox.name
        assert (name in before, name in after) == (step.kind != "add", step.kind != "remove")
        assert {other for other in before.keys() | after.keys() if before.get(other) != after.get(other)} == {name}
        if step.kind != "remove":
            workloads = [int(local.workload.name.removeprefix("service-")) for local in after[name].spec.local]
            assert tuple(workloads) == step.sandbox.workloads
            assert {m.to_local.port for local in after[name].spec.local for m in local.mappings} == {step.sandbox.port}


def test_kinds_and_ways_take_turns(tmp_path: Path) -> None:
    steps = list(Farm(tmp_path, 50, (9000, 9001)).steps(12, firsts=2))
    assert [each.kind for each in steps[:4]] == ["add", "change", "remove", "add"]
    assert {(each.kind, each.by_rest) for each in steps} == {
        (kind, way) for kind in ("add", "change", "remove") for way in (False, True)
    }
