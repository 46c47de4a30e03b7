"""The folder of files: a real folder and real files, one process (see also tests/e2e/test_dirstore.py)."""

from __future__ import annotations

import asyncio
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from controller.dirstore import DirStore
from controller.documents import pieces
from controller.errors import Conflict, NotFound, ObjectError, Unwritable
from controller.objects import Object, Sandbox, Status, Ttl
from controller.store import NONE_YET, Changed, Deleted, Event, Snapshot, Store
from tests.support.folder import names, opened, ref, run, until, write
from tests.support.objects import NOON, group, sandbox


def bare(name: str, **options: object) -> Sandbox:
    """As an author writes it: without what the store adds."""
    made = sandbox(name, key=None, created=None, **options)  # type: ignore[arg-type]
    return replace(made, metadata=replace(made.metadata, uid=None, generation=None))


def longer(object_: Object, duration: str = "9h") -> Object:
    """The object with another spec."""
    assert isinstance(object_, Sandbox)
    return replace(object_, spec=replace(object_.spec, ttl=Ttl(duration)))


async def following(store: DirStore, events: list[Event]) -> None:
    async for event in store.watch():
        events.append(event)


# --- read ---


def test_files_of_one_and_of_several_documents(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", bare("one"))
    write(tmp_path / "b.yml", bare("two"), group("epic"))
    write(tmp_path / "c.json", bare("three"))
    write(tmp_path / "no.txt", bare("four"))
    write(tmp_path / ".hidden.yaml", bare("five"))
    (tmp_path / "below").mkdir()
    write(tmp_path / "below" / "a.yaml", bare("six"))

    async def test() -> None:
        async with opened(tmp_path, clock=lambda: NOON) as store:
            assert await names(store) == ["epic", "one", "three", "two"]
            assert store.faults == {}
            found = await store.get(ref("one"))
            assert found.metadata.uid
            assert found.metadata.resource_version
            assert (found.metadata.generation, found.metadata.creation_timestamp) == (1, NOON)
            assert found.spec.routing_key is not None
            assert len(found.spec.routing_key) == 13
            with pytest.raises(NotFound):
                await store.get(ref("four"))
            typed: Store = store
            assert typed is store

    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.*") if path.is_file()}
    run(test)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.*") if path.is_file()} == before


def test_what_files_do_not_say_outlives_a_restart(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", bare("one"))
    found: list[Object] = []
    status = Status(routing_key="k", observed_generation=1, updated_at=NOON)

    async def first() -> None:
        async with opened(tmp_path) as store:
            await store.put_statuses({ref("one"): status})
            found.append(await store.get(ref("one")))

    async def second() -> None:
        async with opened(tmp_path) as store:
            assert await store.get(ref("one")) == found[0]

    run(first)
    assert found[0].status == status
    (tmp_path / "a.yaml").rename(tmp_path / "b.yaml")  # nor does it matter which file it is
    run(second)


def test_an_object_that_moved_while_nobody_looked(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", bare("one"), bare("two"))
    write(tmp_path / "b.yaml", bare("three"))
    found: list[Object] = []

    async def test() -> None:
        async with opened(tmp_path) as store:
            found.append(await store.get(ref("one")))

    run(test)
    write(tmp_path / "a.yaml", bare("two"))
    write(tmp_path / "b.yaml", bare("three"), bare("one"))
    run(test)
    assert found[0] == found[1]


def test_changes_of_files_are_followed(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as store:
            events: list[Event] = []
            watching = asyncio.get_running_loop().create_task(following(store, events))
            await until(lambda: events == [Snapshot(())], "a snapshot")
            write(tmp_path / "a.yaml", bare("one"), bare("two"))
            await until(lambda: len(events) == 3, "two objects")
            one = await store.get(ref("one"))
            write(tmp_path / "a.yaml", longer(bare("one")), bare("two"))
            await until(lambda: len(events) == 4, "a change")
            changed = await store.get(ref("one"))
            assert events[-1:] == [Changed(changed)]
            assert changed.metadata.uid == one.metadata.uid
            assert changed.metadata.generation == 2
            assert changed.metadata.resource_version != one.metadata.resource_version
            assert changed.spec.routing_key == one.spec.routing_key
            write(tmp_path / "a.yaml", bare("two"))
            await until(lambda: len(events) == 5, "a deletion")
            assert events[-1:] == [Deleted(ref("one"))]
            (tmp_path / "a.yaml").unlink()
            await until(lambda: len(events) == 6, "another")
            assert events[-1:] == [Deleted(ref("two"))]
            watching.cancel()

    run(test)


@pytest.mark.parametrize("use_inotify", [True, False], ids=["inotify", "polling"])
def test_a_file_written_in_place(tmp_path: Path, use_inotify: bool) -> None:
    """Half a list of documents is a valid, shorter one: it must not be taken while its writer is at work."""
    write(tmp_path / "a.yaml", bare("one"), bare("two"))
    whole = (tmp_path / "a.yaml").read_bytes()

    async def test() -> None:
        async with opened(tmp_path, use_inotify=use_inotify) as store:
            events: list[Event] = []
            watching = asyncio.get_running_loop().create_task(following(store, events))
            with (tmp_path / "a.yaml").open("wb") as file:
                file.write(whole[: whole.index(b"---")])
                file.flush()
                if use_inotify:
                    await asyncio.sleep(0.1)
                file.write(whole[whole.index(b"---") :].replace(b"two", b"new"))
            await until(lambda: len(events) >= 3, "the change")
            assert {type(event) for event in events[1:]} == {Changed, Deleted}
            assert await names(store) == ["new", "one"]
            assert Deleted(ref("one")) not in events
            watching.cancel()

    run(test)


def test_a_mounted_config_map(tmp_path: Path) -> None:
    """The kubelet puts files behind a symlink that it swaps."""
    for number, name in enumerate(("one", "two")):
        (tmp_path / f"..{number}").mkdir()
        write(tmp_path / f"..{number}" / "a.yaml", bare(name))
    (tmp_path / "..data").symlink_to("..0")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")

    async def test() -> None:
        async with opened(tmp_path) as store:
            assert await names(store) == ["one"]
            (tmp_path / "..new").symlink_to("..1")
            (tmp_path / "..new").rename(tmp_path / "..data")
            objects = store._objects
            await until(lambda: ref("two") in objects, "the other file", within_s=3)

    run(test)


# --- broken files ---


def test_a_broken_file_hurts_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", bare("one"), bare("two"))
    write(tmp_path / "b.yaml", bare("three"))

    async def test() -> None:
        async with opened(tmp_path) as store:
            one = await store.get(ref("one"))
            (tmp_path / "a.yaml").write_text("metadata: [\n")
            write(tmp_path / "c.yaml", bare("four"))
            await until(lambda: store.faults and ref("four") in store._objects, "the fault, and the other object")
            assert list(store.faults) == ["a.yaml"]
            assert store.faults["a.yaml"][0].startswith("line 2 column 1: not YAML")
            assert await names(store) == ["four", "one", "three", "two"]
            assert await store.get(ref("one")) == one

    async def again() -> None:
        """The last good form is kept over a restart, too."""
        async with opened(tmp_path) as store:
            assert await names(store) == ["four", "one", "three", "two"]
            assert list(store.faults) == ["a.yaml"]
            write(tmp_path / "a.yaml", bare("two"))
            await until(lambda: not store.faults, "a good file")
            assert await names(store) == ["four", "three", "two"]

    run(test)
    run(again)


def test_a_broken_object_hurts_no_other_of_its_file(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", bare("one"), bare("two"), bare("three"))

    async def test() -> None:
        async with opened(tmp_path) as store:
            one = await store.get(ref("one"))
            write(tmp_path / "a.yaml", longer(bare("one"), "1x"), longer(bare("two")))
            await until(lambda: store.faults, "the fault")
            assert store.faults == {
                "a.yaml": (
                    "document 1 (line 1): spec.ttl.duration: must be a duration like 30m, 4h, 2d or 1w, at most a year,"
                    " is '1x'",
                )
            }
            assert await store.get(ref("one")) == one
            assert (await store.get(ref("two"))).metadata.generation == 2
            assert await names(store) == ["one", "two"]

    run(test)


@pytest.mark.parametrize("content", [b"", b"\n", b"kind: [", b"- x\n", b"\xff\xfe"])
def test_a_file_that_says_nothing_deletes_nothing(tmp_path: Path, content: bytes) -> None:
    write(tmp_path / "a.yaml", bare("one"))

    async def test() -> None:
        async with opened(tmp_path) as store:
            (tmp_path / "a.yaml").write_bytes(content)
            await until(lambda: store.faults, "the fault")
            assert await names(store) == ["one"]
            (tmp_path / "a.yaml").write_bytes(b"# nothing any more\n")  # this says something
            await until(lambda: not store.faults, "the deletion")
            assert await names(store) == []

    run(test)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").mkdir()

    async def test() -> None:
        async with opened(tmp_path) as store:
            assert store.faults == {"a.yaml": ("can't be read: Is a directory",)}

    run(test)


def test_the_same_object_in_two_files(tmp_path: Path) -> None:
    write(tmp_path / "b.yaml", longer(bare("one"), "1h"))

    async def test() -> None:
        async with opened(tmp_path) as store:
            write(tmp_path / "a.yaml", longer(bare("one"), "2h"), longer(bare("one"), "3h"))
            await until(lambda: len(store.faults) == 2, "both faults")
            assert store.faults == {
                "a.yaml": (f"document 2 (line 18): {ref('one')} stands in this file already, and the first counts",),
                "b.yaml": (f"{ref('one')} stands in a.yaml already, and the first counts",),
            }
            one = await store.get(ref("one"))
            assert one.spec.ttl == Ttl("2h")
            (tmp_path / "a.yaml").unlink()
            await until(lambda: not store.faults, "only one")
            other = await store.get(ref("one"))
            assert other.spec.ttl == Ttl("1h")
            assert other.metadata.uid == one.metadata.uid

    run(test)


def test_an_edited_key_is_a_younger_object(tmp_path: Path) -> None:
    """CHECKLIST M7: an old object must not take a key by being edited."""
    write(tmp_path / "a.yaml", replace(bare("one"), spec=replace(bare("one").spec, routing_key="k")))
    times = [NOON, NOON.replace(hour=13), NOON.replace(hour=14)]

    async def test() -> None:
        async with opened(tmp_path, clock=lambda: times[0]) as store:
            one = await store.get(ref("one"))
            times.pop(0)
            write(tmp_path / "a.yaml", replace(bare("one"), spec=replace(bare("one").spec, routing_key="other")))
            await until(lambda: store._objects[ref("one")] != one, "the change")
            other = await store.get(ref("one"))
            assert other.metadata.creation_timestamp == NOON.replace(hour=13)
            assert other.metadata.uid != one.metadata.uid

    run(test)


# --- written ---


def test_put_get_delete(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path, clock=lambda: NOON) as store:
            one = await store.put(bare("one"), NONE_YET)
            path = tmp_path / "hotrod.sandbox.one.yaml"
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert one.metadata.creation_timestamp == NOON
            assert await store.get(ref("one")) == one
            again = await store.put(longer(one), one.metadata.resource_version)
            assert again.metadata.generation == 2
            assert again.metadata.uid == one.metadata.uid
            assert again.spec.routing_key == one.spec.routing_key
            await store.delete(ref("one"), again.metadata.resource_version)
            assert not path.exists()
            assert await store.list() == ()
            with pytest.raises(NotFound):
                await store.delete(ref("one"))

    run(test)


def test_what_was_put_is_in_the_file_alone(tmp_path: Path) -> None:
    """Without the state folder, key and age are still known."""

    async def first() -> None:
        async with opened(tmp_path, str(tmp_path / "state")) as store:
            found.append(await store.put(bare("one")))

    async def second() -> None:
        async with opened(tmp_path, str(tmp_path / "other-state")) as store:
            assert await store.get(ref("one")) == found[0]

    found: list[Object] = []
    run(first)
    run(second)


def test_the_second_of_two_writers_gets_a_conflict(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as store:
            one = await store.put(bare("one"))
            version = one.metadata.resource_version
            results = await asyncio.gather(
                *(store.put(longer(one, f"{hours}h"), version) for hours in range(1, 6)), return_exceptions=True
            )
            assert [type(result) for result in results] == [Sandbox, *[Conflict] * 4]
            assert (await store.get(ref("one"))).spec.ttl == Ttl("1h")
            for act in (
                store.put(bare("one"), NONE_YET),
                store.put(bare("two"), "17"),
                store.delete(ref("one"), version),
            ):
                with pytest.raises(Conflict):
                    await act
            with pytest.raises(Conflict, match="another object"):
                await store.put(replace(one, metadata=replace(one.metadata, uid="other")))

    run(test)


def test_an_editor_is_a_writer_too(tmp_path: Path) -> None:
    """Its change is seen although the store was not told of it yet."""
    write(tmp_path / "a.yaml", bare("one"))

    async def test() -> None:
        async with opened(tmp_path) as store:
            one = await store.get(ref("one"))
            write(tmp_path / "a.yaml", longer(bare("one")))
            with pytest.raises(Conflict):
                await store.put(longer(one, "1h"), one.metadata.resource_version)
            assert (await store.get(ref("one"))).spec.ttl == Ttl("9h")

    run(test)


def test_a_put_changes_its_object_where_it_stands(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", bare("one"), bare("two"))
    path = tmp_path / "a.yaml"
    path.chmod(0o640)
    path.write_bytes(b"# by hand\n" + path.read_bytes() + b"# at the end\n---\n# and more\n")
    before = path.read_bytes()

    async def test() -> None:
        async with opened(tmp_path) as store:
            one = await store.put(longer(await store.get(ref("one"))))
            assert sorted(os.listdir(tmp_path)) == [".pointsman", "a.yaml"]
            assert path.read_bytes()[pieces(path.read_bytes())[1].start :] == before[pieces(before)[1].start :]
            assert stat.S_IMODE(path.stat().st_mode) == 0o640
            assert await store.get(ref("one")) == one
            await store.delete(ref("one"))
            assert await names(store) == ["two"]
            assert before.endswith(path.read_bytes().removeprefix(b"---"))
            await store.delete(ref("two"))
            assert not path.exists()

    run(test)


def test_a_file_that_is_in_the_way(tmp_path: Path) -> None:
    """The name for a new object is taken by a user's file: it stays, and so does what stands in it."""
    path = tmp_path / "hotrod.sandbox.one.yaml"
    write(path, bare("two"))

    async def test() -> None:
        async with opened(tmp_path) as store:
            await store.put(bare("one"))
            assert await names(store) == ["one", "two"]
            assert len(pieces(path.read_bytes())) == 2

    run(test)


def test_a_put_mends_a_broken_object(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", bare("one"), bare("two"))

    async def test() -> None:
        async with opened(tmp_path) as store:
            write(tmp_path / "a.yaml", longer(bare("one"), "1x"), bare("two"))
            await until(lambda: store.faults, "the fault")
            await store.put(longer(await store.get(ref("one"))))
            assert store.faults == {}
            assert len(pieces((tmp_path / "a.yaml").read_bytes())) == 2

    run(test)


def test_what_may_not_be_put(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as store:
            one = await store.put(bare("one"))
            assert isinstance(one, Sandbox)
            with pytest.raises(ObjectError, match=r"spec\.routingKey: must stay"):
                await store.put(replace(one, spec=replace(one.spec, routing_key="other")))
            with pytest.raises(ObjectError, match=r"spec\.ttl\.duration"):
                await store.put(longer(one, "1x"))
            assert await store.list() == (one,)

    run(test)


def test_ages_are_the_stores(tmp_path: Path) -> None:
    """A writer can't make its object older than another one (CHECKLIST M7)."""

    async def test() -> None:
        async with opened(tmp_path, clock=lambda: NOON) as store:
            old = NOON.replace(year=2000)
            one = await store.put(sandbox("one", created=old))
            assert one.metadata.creation_timestamp == NOON
            assert one.metadata.uid != "uid-hotrod-one"
            again = await store.put(replace(one, metadata=replace(one.metadata, creation_timestamp=old)))
            assert again.metadata.creation_timestamp == NOON

    run(test)


def test_deleted_from_every_file(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", bare("one"))
    write(tmp_path / "b.yaml", longer(bare("one")), bare("two"))

    async def test() -> None:
        async with opened(tmp_path) as store:
            await store.delete(ref("one"))
            assert await names(store) == ["two"]
            assert store.faults == {}

    run(test)


# --- state and watches ---


def test_a_status_is_kept_and_told(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", bare("one"))

    async def test() -> None:
        async with opened(tmp_path) as store:
            events: list[Event] = []
            watching = asyncio.get_running_loop().create_task(following(store, events))
            await until(lambda: events, "a snapshot")
            before = await store.get(ref("one"))
            await store.put_statuses({ref("one"): Status("k")})
            await store.put_statuses({ref("one"): Status("k")})
            await store.put_statuses({ref("unheard-of"): Status("k")})
            await until(lambda: len(events) == 2, "a change")
            assert events[1] == Changed(replace(before, status=Status("k")))
            # A later change of the file leaves it, and it does not change the version.
            await store.put(longer(before), before.metadata.resource_version)
            assert (await store.get(ref("one"))).status == Status("k")
            assert b"status" not in (tmp_path / "a.yaml").read_bytes()
            watching.cancel()

    run(test)


def test_a_slow_watcher_gets_the_latest(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as store:
            watching = store.watch()
            assert await anext(watching) == Snapshot(())
            one = await store.put(bare("one"))
            for hours in range(1, 9):
                one = await store.put(longer(one, f"{hours}h"))
            await store.put(bare("two"))
            await store.delete(ref("two"))
            assert await anext(watching) == Changed(one)
            assert await anext(watching) == Deleted(ref("two"))
            await store.delete(ref("one"))
            assert await anext(watching) == Deleted(ref("one"))

    run(test)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path):
            with pytest.raises(Unwritable, match="another process"):
                await DirStore(str(tmp_path)).start()

    run(test)


def test_without_a_state_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "a.yaml", bare("one"))
    (tmp_path / "file").touch()

    async def test() -> None:
        async with opened(tmp_path, str(tmp_path / "file" / "state")) as store:
            assert await names(store) == ["one"]
            await store.put(longer(await store.get(ref("one"))))

    run(test)
    assert "last until the next start" in caplog.text


def test_records_that_are_damaged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "a.yaml", bare("one"))
    write(tmp_path / "b.yaml", bare("two"))

    async def test() -> None:
        async with opened(tmp_path) as store:
            assert await names(store) == ["one", "two"]

    run(test)
    journal = tmp_path / ".pointsman" / "objects"
    journal.write_bytes(journal.read_bytes().replace(b"pr-", b"xx-").replace(b"one", b"eno", 1))
    run(test)
    assert "1 records" in caplog.text


def test_no_folder(tmp_path: Path) -> None:
    async def test() -> None:
        with pytest.raises(FileNotFoundError):
            await DirStore(str(tmp_path / "none")).start()

    run(test)
    assert not (tmp_path / "none").exists()


def test_leftovers_go(tmp_path: Path) -> None:
    (tmp_path / ".pointsman-tmp-abc").touch()

    async def test() -> None:
        async with opened(tmp_path):
            assert not (tmp_path / ".pointsman-tmp-abc").exists()

    run(test)
