"""A table that changes under steady load: no request is lost, each one is answered by one table, the old or the new."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.client import get
from tests.support.load import Answer, Load, loaded
from tests.support.origin import Origin, Received, Responder, running
from tests.support.proxy import route, run_proxy, table, write_table
from tests.support.waiting import until

DECISIONS = ("--decision-header",)
UPLOAD = b"u" * 3000


@dataclass(frozen=True)
class Outcome:
    """Where a request went, as its answer tells: all four must fit one table."""

    decision: str
    origin: str
    host: str
    body: bytes


@dataclass
class Scene:
    """Two tables that differ in everything that a request can notice, and what each makes of every request."""

    ports: dict[str, int]
    others: int = 0  # routes that nobody asks for; many make a table that is read aside and put in force in slices

    def _fill(self) -> list[dict[str, object]]:
        return [route(f"other{index}", [9]) for index in range(self.others)]

    @property
    def before(self) -> dict[str, object]:
        return table(
            route("moves", [self.ports["old"]], sandbox="old"),
            route("leaves", [self.ports["old"]], sandbox="old"),
            *self._fill(),
            version="old",
        )

    @property
    def after(self) -> dict[str, object]:
        """Its last route is a new one: whoever reads only a beginning of it has mixed two tables."""
        new = [self.ports["new"]]
        return table(
            route("leaves", new, sandbox="new", workload="hotrod/Deployment/driver"),
            route("moves", new, sandbox="new", authority="destination"),
            *self._fill(),
            route("added", new, sandbox="new", authority="destination"),
            version="new",
        )

    def outcomes(self) -> dict[str, tuple[Outcome, Outcome]]:
        """By the request's name: under the table before, and under the one after."""

        def baseline(reason: str) -> Outcome:
            return Outcome(f"baseline; reason={reason}", "baseline", "location", b"baseline" * 3000)

        old = Outcome("sandbox=old; reason=route", "old", "location", b"old" * 3000)
        new = Outcome("sandbox=new; reason=route", "new", f"127.0.0.1:{self.ports['new']}", b"new" * 3000)
        return {
            "untagged": (baseline("no_key"), baseline("no_key")),
            "moves": (old, new),
            "moves upload": (old, new),
            "leaves": (old, baseline("gone_route")),
            "added": (baseline("unknown_key"), new),
        }

    def requests(self) -> dict[str, bytes]:
        lines = {
            name: [f"baggage: sd-routing-key={name.split()[0]}"] * (name != "untagged") for name in self.outcomes()
        }
        upload = get("/", *lines.pop("moves upload"), f"Content-Length: {len(UPLOAD)}", method="POST") + UPLOAD
        return {"moves upload": upload, **{name: get("/", *of_name) for name, of_name in lines.items()}}

    def has_arrived(self, load: Load) -> bool:
        """Whether the table after it has answered every request."""
        return all(
            (answers := load.answers(name)) and answers[-1].response is not None and seen(answers[-1]) == after
            for name, (_, after) in self.outcomes().items()
        )

    def check(self, load: Load) -> None:
        """Every answer is whole and comes of one of the two tables, and once the new one showed, of that alone."""
        answers = load.answers()
        outcomes = self.outcomes()
        assert [answer for answer in answers if answer.response is None] == []
        assert [seen(answer) for answer in answers if seen(answer) not in outcomes[answer.name]] == []
        shown_s = min(answer.ended_s for answer in answers if seen(answer) != outcomes[answer.name][0])
        late = [answer for answer in answers if answer.began_s > shown_s]
        assert len(late) >= len(outcomes)
        assert [(answer.name, seen(answer)) for answer in late if seen(answer) != outcomes[answer.name][1]] == []


def seen(answer: Answer) -> Outcome:
    response = answer.response
    assert response is not None
    assert response.status == 200, response
    return Outcome(response.decision, response.origin, response.value("x-host"), response.body)


def naming(name: str) -> Responder:
    """Answers tell the origin, the Host that reached it, and that an upload was whole."""

    def respond(received: Received) -> tuple[int, list[tuple[str, str]], bytes]:
        if received.body not in (b"", UPLOAD):
            return 400, [], b"not what was sent"
        return 200, [("x-host", received.values(b"host")[0].decode())], name.encode() * 3000

    return respond


@pytest.fixture
def scene() -> Iterator[Scene]:
    origins = [Origin(name, naming(name)) for name in ("baseline", "old", "new")]
    with running(*origins):
        yield Scene({origin.name: origin.port for origin in origins})


# --- the ways in which a file changes ---


def rename(path: Path, document: Mapping[str, object], load: Load) -> None:
    write_table(path, document)


def write_in_place(path: Path, document: Mapping[str, object], load: Load) -> None:
    path.write_text(json.dumps(document))


def as_yaml(document: Mapping[str, object]) -> str:
    """The document with a line for each field and each route, so that its beginning is a valid, shorter table."""
    routes = document["routes"]
    assert isinstance(routes, list)
    fields = [f"{name}: {json.dumps(value)}\n" for name, value in document.items() if name != "routes"]
    return "".join([*fields, "routes:\n", *(f"- {json.dumps(entry)}\n" for entry in routes)])


def write_in_place_slowly(path: Path, document: Mapping[str, object], load: Load) -> None:
    """The pause is long for a proxy, short for a writer, and what stands in the file meanwhile is a valid table."""
    lines = as_yaml(document).splitlines(keepends=True)
    with path.open("w") as file:
        file.writelines(lines[:-1])
        file.flush()
        load.more(60)
        file.writelines(lines[-1])


def make_anew(path: Path, document: Mapping[str, object], load: Load) -> None:
    path.unlink()
    load.more(5)
    write_in_place_slowly(path, document, load)


def swap_symlink(path: Path, document: Mapping[str, object], load: Load) -> None:
    publish_config_map(path, document, "..2026_11_02")
    shutil.rmtree(path.parent / "..2026_11_01")


def publish_config_map(path: Path, document: Mapping[str, object], stamp: str) -> None:
    """As the kubelet does it: a folder with a time in its name, and `..data`, which leads there, swapped by rename."""
    (path.parent / stamp).mkdir()
    (path.parent / stamp / path.name).write_text(json.dumps(document))
    (path.parent / "..data_tmp").symlink_to(stamp)
    os.replace(path.parent / "..data_tmp", path.parent / "..data")


# --- the tests ---


@pytest.mark.parametrize(
    ("change", "others"),
    [
        *((change, 0) for change in (rename, write_in_place, write_in_place_slowly, make_anew, swap_symlink)),
        (rename, 1500),
    ],
)
def test_a_change_under_load(
    tmp_path: Path, scene: Scene, change: Callable[[Path, Mapping[str, object], Load], None], others: int
) -> None:
    scene.others = others
    path = tmp_path / "table.json"
    if change is swap_symlink:
        publish_config_map(path, scene.before, "..2026_11_01")
        path.symlink_to("..data/table.json")
    with run_proxy(tmp_path, scene.ports["baseline"], document=scene.before, flags=DECISIONS) as proxy:
        with loaded(proxy.port, scene.requests()) as load:
            change(path, scene.after, load)
            # A large table is read by a process of low priority, which a busy machine may let wait.
            until(lambda: scene.has_arrived(load), "the new table's answers", within_s=30 if others else 5)
        scene.check(load)
        assert proxy.state()["version"] == "new"


def test_many_changes_under_load(tmp_path: Path, scene: Scene) -> None:
    """Connections to both sandboxes come and go all the time."""
    tables = [table(route("moves", [scene.ports[name]], sandbox=name), version=name) for name in ("old", "new")]
    requests = {name: request for name, request in scene.requests().items() if name.startswith(("moves", "untagged"))}
    with run_proxy(tmp_path, scene.ports["baseline"], document=tables[0], flags=DECISIONS) as proxy:
        with loaded(proxy.port, requests) as load:
            for number in range(1, 31):
                proxy.set_table({**tables[number % 2], "version": str(number)})
        assert [answer for answer in load.answers() if answer.response is None] == []
        allowed = {(f"sandbox={name}; reason=route", name) for name in ("old", "new")}
        for answer in load.answers():
            fits = {("baseline; reason=no_key", "baseline")} if answer.name == "untagged" else allowed
            assert (seen(answer).decision, seen(answer).origin) in fits
