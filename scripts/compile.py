"""Compiles the modules of the hot path by mypyc into `proxy/_compiled` (see `proxy/compiled.py`).

    python scripts/compile.py [--if-possible]

Without a C compiler or Python's headers it says so and exits 0: everything runs without.
`--if-possible`: the same where compiling fails.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tempfile
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
os.chdir(ROOT)
sys.path.insert(0, str(ROOT))
os.environ["POINTSMAN_PURE_PYTHON"] = "1"

from mypyc.build import mypycify  # noqa: E402
from setuptools import Distribution  # noqa: E402

from proxy import compiled  # noqa: E402

_PLAIN = "the proxy runs as plain Python (same behaviour, more CPU)"


def missing() -> str | None:
    """What the machine lacks for it."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(os.environ.get("CC", compiler)) is None:
        return f"no C compiler ({compiler})"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "no Python headers (Debian: python3-dev)"
    return None


def build(folder: Path) -> None:
    digest = compiled.sources_digest()
    files = [name.replace(".", "/") + ".py" for name in compiled.MODULES]
    extensions = mypycify(files, opt_level="2", group_name=compiled.GROUP, target_dir=str(folder / "c"))
    command = Distribution({"name": "pointsman", "ext_modules": extensions}).get_command_obj("build_ext")
    command.build_lib, command.build_temp = str(folder / "lib"), str(folder / "objects")
    command.ensure_finalized()
    command.run()
    suffix = EXTENSION_SUFFIXES[0]
    shutil.rmtree(compiled.FOLDER, ignore_errors=True)
    compiled.FOLDER.mkdir()
    for name in (*compiled.MODULES, f"{compiled.GROUP}__mypyc"):
        built = folder / "lib" / (name.replace(".", "/") + suffix)
        shutil.copy(built, compiled.FOLDER / f"{name}{suffix}")
    compiled.DIGEST_FILE.write_text(digest)


def main() -> int:
    lack = missing()
    if lack is not None:
        print(f"{lack}: {_PLAIN}")
        compiled.FOLDER.mkdir(exist_ok=True)
        compiled.DIGEST_FILE.write_text("")  # true of no sources; `make` need not ask again
        return 0
    with tempfile.TemporaryDirectory() as folder:
        try:
            build(Path(folder))
        except (Exception, SystemExit) as error:  # mypyc ends by SystemExit, the build by errors of its own
            if "--if-possible" not in sys.argv:
                raise
            print(f"compiling failed ({error}): {_PLAIN}")
            return 0
    print(f"compiled {len(compiled.MODULES)} modules into {compiled.FOLDER.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
