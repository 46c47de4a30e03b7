"""The worked example of a queue, as users run it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(find_spec("nats") is None, reason="demo/requirements.txt is not installed: nats-py")
def test_each_message_is_taken_by_the_right_consumer_alone() -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("POINTSMAN_")}
    command = [sys.executable, "-m", "demo.queue", "--copies", "50"]
    found = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "Each of 400 messages was taken by the right consumer, and by no other." in found.stdout
    assert found.stderr == ""
