"""The soak's short form: `make soak SECONDS=30`, with a seed that stays."""

from __future__ import annotations

import subprocess
import sys


def test_soak() -> None:
    command = [sys.executable, "-m", "tests.soak", "--seconds", "30", "--seed", "1"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stdout + ended.stderr
