"""The rules of changes, over a real folder."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from controller.errors import Conflict, Deleting, Exists, NotFound, ObjectError, OverQuota
from controller.objects import Sandbox
from controller.quotas import Quotas
from controller.store import NONE_YET
from controller.writing import Writer
from tests.support import objects
from tests.support.folder import names, opened, ref, run, write
from tests.support.objects import NOON


def sandbox(name: str, **parts: object) -> Sandbox:
    """As an author writes it: without a uid."""
    made = objects.sandbox(name, **parts)  # type: ignore[arg-type]
    return replace(made, metadata=replace(made.metadata, uid=None))


def test_conflicts(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as store:
            writer = Writer(store, Quotas(), lambda: NOON)
            with pytest.raises(Conflict, match="is gone"):
                await writer.put(sandbox("one"), "version")
            first, before = await writer.put(sandbox("one"), NONE_YET)
            assert before is None
            with pytest.raises(Exists):
                await writer.put(sandbox("one"), NONE_YET)
            version = first.metadata.resource_version
            second, before = await writer.put(sandbox("one", labels={"a": "b"}), version)
            assert before == first
            with pytest.raises(Conflict, match="has changed"):
                await writer.put(sandbox("one"), version)
            with pytest.raises(Conflict, match="has changed"):
                await writer.delete(ref("one"), version)
            with pytest.raises(ObjectError, match="must stay"):
                await writer.put(sandbox("one", key="other"))
            assert await store.get(ref("one")) == second
            with pytest.raises(NotFound):
                await writer.delete(ref("two"))
            with pytest.raises(Conflict, match="another object now"):
                await writer.put(objects.sandbox("one"), is_dry=True)

    run(test)


def test_a_deletion_is_a_mark_and_nobody_elses_to_set(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as store:
            writer = Writer(store, Quotas(), lambda: NOON)
            made, _ = await writer.put(sandbox("one", deleted=NOON))
            assert made.metadata.deletion_timestamp is None
            assert (await writer.delete(made.ref, is_dry=True)).metadata.deletion_timestamp == NOON
            assert (await store.get(made.ref)).metadata.deletion_timestamp is None
            going = await writer.delete(made.ref, made.metadata.resource_version)
            assert going.metadata.deletion_timestamp == NOON
            assert going.metadata.uid == made.metadata.uid
            assert await writer.delete(made.ref, "whatever") == going
            with pytest.raises(Deleting):
                await writer.put(sandbox("one"))
            write(tmp_path / "hotrod.sandbox.one.yaml", sandbox("one"))

    run(test)


def test_a_dry_run_says_what_would_be(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as store:
            writer = Writer(store, Quotas(per_namespace=1), lambda: NOON)
            seen, _ = await writer.put(sandbox("one", key=None), is_dry=True)
            assert seen.spec.routing_key is None
            assert (seen.metadata.resource_version, seen.metadata.generation) == (None, 1)
            assert await names(store) == []
            made, _ = await writer.put(sandbox("one", key=None))
            seen, before = await writer.put(sandbox("one", key=None, labels={"a": "b"}), is_dry=True)
            assert before == made
            done, _ = await writer.put(sandbox("one", key=None, labels={"a": "b"}))
            assert isinstance(done, Sandbox)
            assert replace(done, status=seen.status) == seen
            with pytest.raises(OverQuota):
                await writer.put(sandbox("two"), is_dry=True)

    run(test)


def test_blind_writers_get_through_and_quotas_hold(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as store:
            writer = Writer(store, Quotas(per_namespace=3), lambda: NOON)
            many = [sandbox(f"pr-{number % 6}", labels={"n": str(number)}) for number in range(24)]
            done = await asyncio.gather(*(writer.put(each) for each in many), return_exceptions=True)
            assert {type(each) for each in done} == {tuple, OverQuota}
            assert len(await names(store)) == 3

    run(test)


def test_people_who_edit_files_in_between(tmp_path: Path) -> None:
    """A writer that named no version gets through, one that did gets a conflict."""

    async def test() -> None:
        async with opened(tmp_path) as store:
            writer = Writer(store, Quotas(), lambda: NOON)
            made, _ = await writer.put(sandbox("one"))
            path = tmp_path / "hotrod.sandbox.one.yaml"
            write(path, sandbox("one", labels={"by": "hand"}))
            with pytest.raises(Conflict):
                await writer.put(sandbox("one", labels={"by": "api"}), made.metadata.resource_version)
            write(path, sandbox("one", labels={"by": "hand-again"}))
            done, _ = await writer.put(sandbox("one", labels={"by": "api"}))
            assert done.metadata.labels == {"by": "api"}

    run(test)
