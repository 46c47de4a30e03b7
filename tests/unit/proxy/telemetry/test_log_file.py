"""The thread that writes: files that fill up, are moved, are named pipes; readers that stall."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import select
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.telemetry import log_file
from proxy.telemetry.lines import MAX_BYTES
from proxy.telemetry.log_file import LogFile
from proxy.telemetry.metrics import Metrics
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_file, "GATHER_S", 0.005)
    monkeypatch.setattr(log_file, "AGAIN_S", 0.05)


@contextlib.contextmanager
def opened(path: Path | None) -> Iterator[LogFile]:
    found = LogFile(None if path is None else str(path), Metrics())
    try:
        yield found
    finally:
        found.close(2)


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """For this process; what is beyond fails with EFBIG, as a full disk does with ENOSPC (Python ignores SIGXFSZ)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def put(log: LogFile, *lines: str) -> None:
    for line in lines:
        log.lines.put(f"{line}\n")


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_lines_are_appended_and_flushed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    with opened(path) as log:
        put(log, "a", "b")
        until(lambda: lines_of(path) == ["before", "a", "b"], "the lines")
        put(log, "c")
    assert lines_of(path) == ["before", "a", "b", "c"]


def test_the_file_is_not_everybodys(tmp_path: Path) -> None:
    with opened(tmp_path / "log"):
        assert (tmp_path / "log").stat().st_mode & 0o007 == 0


class TestRotation:
    def test_a_file_that_was_moved_away(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        with opened(path) as log:
            put(log, "a")
            until(lambda: lines_of(path), "the line")
            path.rename(tmp_path / "log.1")
            put(log, "b")
            until(lambda: lines_of(path), "the line")
        assert (lines_of(tmp_path / "log.1"), lines_of(path)) == (["a"], ["b"])

    def test_a_file_in_its_place(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        with opened(path) as log:
            path.rename(tmp_path / "log.1")
            path.write_text("new\n")
            put(log, "b")
        assert (lines_of(tmp_path / "log.1"), lines_of(path)) == ([], ["new", "b"])

    def test_copied_and_truncated(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        with opened(path) as log:
            put(log, "a")
            until(lambda: lines_of(path), "the line")
            os.truncate(path, 0)
            put(log, "b")
        assert path.read_bytes() == b"b\n"

    def test_at_a_signal_at_once(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        with opened(path) as log:
            path.unlink()
            log.reopen()
            until(path.exists, "the new file")

    def test_where_no_file_can_be_made_the_old_one_is_kept(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder = tmp_path / "folder"
        folder.mkdir()
        with opened(folder / "log") as log:
            folder.rename(tmp_path / "moved")
            put(log, "a")
            until(lambda: lines_of(tmp_path / "moved" / "log"), "the line")
            put(log, "b")
        assert lines_of(tmp_path / "moved" / "log") == ["a", "b"]
        assert "No such file" in caplog.text


class TestFull:
    def test_what_is_there_is_whole_lines_and_what_waited_follows(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = tmp_path / "log"
        expected = [f"{number:04d}" for number in range(100)]
        with opened(path) as log:
            with files_of_at_most(203):  # 40 lines and 3 bytes
                put(log, *expected)
                until(lambda: "can't be written" in caplog.text, "the fault")
                assert path.read_bytes() == "".join(f"{line}\n" for line in expected[:40]).encode()
                put(log, "more")
            until(lambda: len(lines_of(path)) == 101, "the rest")
        assert lines_of(path) == [*expected, "more"]
        said = [record.getMessage() for record in caplog.records]
        assert [text for text in said if "can't be written" in text] == [
            f"access log: {path} can't be written, trying again each second: File too large"
        ]
        assert [text for text in said if "takes lines again" in text] == [
            f"access log: {path} takes lines again; 0 were dropped"
        ]
        assert log._metrics.log_lines_dropped == 0

    def test_what_there_is_no_room_for_is_dropped_counted_and_said_once(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = tmp_path / "log"
        line = "x" * 1023
        with opened(path) as log:
            with files_of_at_most(10):
                put(log, *[line] * (MAX_BYTES // 1024 + 50))
                assert log._metrics.log_lines_dropped == 50
            until(lambda: "takes lines again; 50 were dropped" in caplog.text, "what was kept")
            put(log, *[line] * 10)
        assert set(lines_of(path)) == {line}
        assert len(lines_of(path)) == MAX_BYTES // 1024 + 10
        assert sum("lines are dropped" in record.getMessage() for record in caplog.records) == 1

    def test_another_who_appends_loses_nothing(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """The part that is taken back is only taken from the end."""
        path = tmp_path / "log"
        with opened(path) as log:
            with files_of_at_most(12):
                put(log, "123456789", "abcdefghi")
                until(lambda: "can't be written" in caplog.text, "the fault")
            with path.open("a") as other:
                other.write("other\n")
            until(lambda: len(lines_of(path)) == 3, "the rest")
        assert lines_of(path) == ["123456789", "other", "abcdefghi"]

    def test_what_another_has_written_behind_it_is_not_cut(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        with opened(path) as log:
            os.write(log._fd, b"abc\nde")
            with path.open("a") as other:
                other.write("other\n")
            log._data, log._at = b"abc\ndef\n", 6
            log._take_back()
            assert (path.read_text(), log._at) == ("abc\ndeother\n", 6)
            log._data, log._at = b"", 0

    def test_the_end_does_not_wait(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        with files_of_at_most(5):
            with opened(tmp_path / "log") as log:
                put(log, "123456789")
            assert not log._thread.is_alive()
        assert "the last lines could not be written" in caplog.text


class TestPipe:
    @pytest.fixture
    def pipe(self, tmp_path: Path) -> Iterator[tuple[Path, int]]:
        """A named pipe, and its end that is read."""
        path = tmp_path / "pipe"
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            yield path, reader
        finally:
            os.close(reader)

    def test_lines_come_whole_a_few_at_a_time(self, pipe: tuple[Path, int]) -> None:
        path, reader = pipe
        expected = [f"{number} " + "x" * (number % 900) for number in range(2000)]
        pieces: list[bytes] = []
        with opened(path) as log:
            put(log, *expected)
            while sum(map(len, pieces)) < sum(len(line) + 1 for line in expected):
                assert select.select([reader], [], [], 5)[0], "no more lines come"
                pieces.append(os.read(reader, select.PIPE_BUF))
        assert b"".join(pieces).decode().splitlines() == expected

    def test_a_reader_that_stalls_stalls_nobody_and_finds_whole_lines(
        self, pipe: tuple[Path, int], caplog: pytest.LogCaptureFixture
    ) -> None:
        path, reader = pipe
        line = "x" * 1000
        with opened(path) as log:
            for _ in range(MAX_BYTES // 1001 + 1000):
                put(log, line)  # the pipe takes 64 KiB, the buffer 4 MiB; nobody waits
            dropped = log._metrics.log_lines_dropped
            assert dropped > 0
            assert "takes them too slowly" in caplog.text
            found = bytearray()
            until(lambda: _read(reader, found) and len(found) == 1001 * log._metrics.log_lines, "what was kept")
        assert set(found.decode().splitlines()) == {line}
        assert f"takes lines again; {dropped} were dropped" in caplog.text

    def test_another_who_writes_tears_no_line(self, pipe: tuple[Path, int]) -> None:
        path, reader = pipe
        ours = [f"{number} " + "x" * 900 for number in range(2000)]
        others = [f"other {number}" for number in range(2000)]
        is_over = threading.Event()

        def write() -> None:
            with path.open("w", buffering=1) as other:
                other.writelines(f"{line}\n" for line in others)
            is_over.set()

        found = bytearray()
        with opened(path) as log:
            threading.Thread(target=write, daemon=True).start()
            put(log, *ours)
            expected = sum(len(line) + 1 for line in (*ours, *others))
            until(lambda: _read(reader, found) and len(found) == expected, "all lines")
            until(is_over.is_set, "the other's end")
        lines = found.decode().splitlines()
        assert [line for line in lines if line.startswith("other")] == others
        assert [line for line in lines if not line.startswith("other")] == ours

    def test_the_end_waits_for_so_long(self, pipe: tuple[Path, int], caplog: pytest.LogCaptureFixture) -> None:
        path, reader = pipe
        log = LogFile(str(path), Metrics())
        put(log, *["x" * 1000] * 200)
        log.close(0.2)
        assert "the last lines could not be written" in caplog.text
        _read(reader, bytearray())  # lets the thread go
        until(lambda: not _read(reader, bytearray()) or not log._thread.is_alive(), "the thread's end")

    def test_without_a_reader_it_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "pipe"
        os.mkfifo(path)
        with pytest.raises(OSError, match="No such device"):
            LogFile(str(path), Metrics())

    def test_a_stdout_that_somebody_made_non_blocking(self, caplog: pytest.LogCaptureFixture) -> None:
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        os.set_blocking(reader, False)
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, reader)
            stack.callback(os.close, writer)
            log = LogFile(None, Metrics())
            log._fd = writer
            put(log, *["x" * 1000] * 500)
            found = bytearray()
            until(lambda: _read(reader, found) and len(found) == 1001 * 500, "all lines")
            log.close(2)
        assert "can't be written" not in caplog.text


def _read(reader: int, found: bytearray) -> bool:
    with contextlib.suppress(BlockingIOError):
        while data := os.read(reader, 65536):
            found += data
    return True


def test_it_starts_no_thread_that_keeps_a_process(tmp_path: Path) -> None:
    with opened(tmp_path / "log"):
        (thread,) = [thread for thread in threading.enumerate() if thread.name == "access log"]
        assert thread.daemon


def test_a_fault_that_stays_is_said_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = 0

    def write(fd: int, data: bytes) -> int:
        nonlocal tried
        tried += fd == log._fd
        return real(fd, data)

    real = os.write
    monkeypatch.setattr(log_file.os, "write", write)
    with opened(Path("/dev/full")) as log:
        put(log, "a")
        until(lambda: tried >= 3, "some tries")
        put(log, "b")
        until(lambda: tried >= 5, "more")
    assert caplog.text.count("No space left") == 1


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
