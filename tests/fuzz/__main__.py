"""`make fuzz`: one target after another, each in a process of its own, for some time.

With atheris, libFuzzer spoils inputs and keeps those that reach new code. Without it our own mutator spoils them
blindly. What is found goes into `found/` (ignored by git); what fails is told, with the commands that
repeat it and keep it.

    python -m tests.fuzz [--seconds N] [TARGET]...                  fuzz
    python -m tests.fuzz --replay TARGET FILE...                    check single inputs
    python -m tests.fuzz --minimise TARGET                          keep of `found/` what nothing else covers
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from random import SystemRandom

from tests.fuzz.mutate import MAX_BYTES, mutations
from tests.fuzz.targets import CORPUS, FOLDER, NAMES, kept, target

FOUND = FOLDER / "found"
ROOT = FOLDER.parents[1]
_HANG_S = 20
_MEMORY_MB = 2048


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(NAMES))
    parser.add_argument("--seconds", type=int, default=300, help="for each target (300)")
    parser.add_argument("--replay", metavar="TARGET", choices=NAMES, help="check the files given")
    parser.add_argument("--minimise", metavar="TARGET", choices=NAMES)
    parser.add_argument("--libfuzzer", metavar="TARGET", choices=NAMES, help=argparse.SUPPRESS)
    parser.add_argument("--as", dest="command", default="fuzz", help=argparse.SUPPRESS)
    options, rest = parser.parse_known_args(argv)
    if options.libfuzzer:
        _run_libfuzzer(options.libfuzzer, [options.command, *options.targets, *rest])
    if rest:
        parser.error(f"not understood: {' '.join(rest)}")
    if options.replay:
        for path in options.targets:
            target(options.replay).check(Path(path).read_bytes())
        return 0
    if options.minimise:
        return _minimise(options.minimise)
    if unknown := set(options.targets) - set(NAMES):
        parser.error(f"no target of this name: {', '.join(sorted(unknown))} (there are {', '.join(NAMES)})")
    fuzz = _fuzz_guided if _has_atheris() else _fuzz_blindly
    if fuzz is _fuzz_blindly:
        print("fuzz: atheris can't be imported (pip install -e '.[fuzz]'): plain mutations, without coverage")
    failed = [name for name in options.targets or NAMES if not fuzz(name, options.seconds)]
    if failed:
        print(f"fuzz: failed: {', '.join(failed)}")
    return 1 if failed else 0


def _has_atheris() -> bool:
    try:
        import atheris  # noqa: F401
    except ImportError:
        return False
    return True


# --- guided, by atheris ---


def _fuzz_guided(name: str, seconds: int) -> bool:
    new, crashes = _folders(name)
    with tempfile.TemporaryDirectory() as temporary:
        seeds, dictionary = _write_seeds(name, Path(temporary))
        print(f"fuzz: {name} for {seconds} s", flush=True)
        before = _names(crashes)
        run = _libfuzzer(
            name,
            str(new),
            str(seeds),
            str(CORPUS / name),
            f"-dict={dictionary}",
            f"-max_total_time={seconds}",
            f"-max_len={MAX_BYTES}",
            f"-timeout={_HANG_S}",
            f"-rss_limit_mb={_MEMORY_MB}",
            f"-artifact_prefix={crashes}/",
            "-print_final_stats=1",
            "-verbosity=0",
        )
    found = [crashes / one for one in sorted(_names(crashes) - before)]
    for path in found:
        _tell(name, path)
    print(f"fuzz: {name}: {len(_names(new))} inputs with coverage of their own in {new.relative_to(ROOT)}", flush=True)
    return run == 0 and not found


def _libfuzzer(name: str, *arguments: str) -> int:
    """atheris never returns, so it has a process of its own; it needs the sources, not their compiled forms."""
    environment = {**os.environ, "POINTSMAN_PURE_PYTHON": "1"}
    start = [sys.executable, "-m", "tests.fuzz", "--libfuzzer", name]
    with tempfile.TemporaryDirectory() as temporary:
        script = Path(temporary) / "again"  # libFuzzer starts itself again to merge
        script.write_text(f'#!/bin/sh\nexec {shlex.join([*start, "--as", str(script)])} -- "$@"\n')
        script.chmod(0o700)
        command = [*start, "--as", str(script), "--", *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def _run_libfuzzer(name: str, arguments: list[str]) -> None:
    import atheris

    with atheris.instrument_imports(include=["proxy"]):
        check = target(name).check
    atheris.Setup(arguments, check)
    atheris.Fuzz()


def _minimise(name: str) -> int:
    """Copies into the kept corpus what of `found/` adds coverage to the seeds and to what is kept."""
    new, _ = _folders(name)
    with tempfile.TemporaryDirectory() as temporary:
        merged, _ = _write_seeds(name, Path(temporary))
        for name_of_file, data in kept(name).items():
            (merged / name_of_file).write_bytes(data)
        before = _names(merged)
        if status := _libfuzzer(name, "-merge=1", "-use_counters=0", f"-max_len={MAX_BYTES}", str(merged), str(new)):
            return status
        for added in sorted(_names(merged) - before):
            shutil.copy(merged / added, CORPUS / name / added[:16])
    return 0


def _write_seeds(name: str, folder: Path) -> tuple[Path, Path]:
    """Seeds and a dictionary as libFuzzer wants them."""
    of = target(name)
    seeds = folder / "seeds"
    seeds.mkdir()
    for data in of.seeds():
        (seeds / _digest(data)).write_bytes(data)
    dictionary = folder / "dictionary"
    escaped = ("".join(map("\\x{:02x}".format, scrap)) for scrap in of.SCRAPS)
    dictionary.write_text("".join(f'"{scrap}"\n' for scrap in escaped))
    return seeds, dictionary


# --- blindly, by our own mutator ---


def _fuzz_blindly(name: str, seconds: int) -> bool:
    of = target(name)
    _, crashes = _folders(name)
    inputs = [*of.seeds(), *kept(name).values()]
    random = SystemRandom()
    until = time.monotonic() + seconds
    count = 0
    for data in chain(inputs, mutations(inputs, of.SCRAPS, random)):
        try:
            of.check(data)
        except Exception:  # noqa: BLE001 - whatever it is, it is what is looked for
            traceback.print_exc()
            path = crashes / f"crash-{_digest(data)}"
            path.write_bytes(data)
            _tell(name, path)
            return False
        count += 1
        if time.monotonic() > until:
            break
    print(f"fuzz: {name}: {count} inputs in {seconds} s", flush=True)
    return True


# --- both ---


def _folders(name: str) -> tuple[Path, Path]:
    new, crashes = FOUND / name / "new", FOUND / name / "crashes"
    for folder in (new, crashes, CORPUS / name):
        folder.mkdir(parents=True, exist_ok=True)
    return new, crashes


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _digest(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def _tell(name: str, path: Path) -> None:
    shown = path.relative_to(ROOT)
    print(
        f"fuzz: {name} failed on {shown} ({path.stat().st_size} bytes): {path.read_bytes()[:200]!r}\n"
        f"  again:   python -m tests.fuzz --replay {name} {shown}\n"
        f"  keep it: cp {shown} {(CORPUS / name).relative_to(ROOT)}/<what it shows>   (make test replays it)",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
