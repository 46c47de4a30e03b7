"""`python -m tests.observability --picture FILE`: runs the scene, and draws what Prometheus saw of it."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from scripts.picture import Series, picture
from tests.observability.prometheus import Prometheus, running_prometheus, without_variables
from tests.observability.scene import Scene, call, running_scene

# What happens after how many seconds.
_PLAN = (
    (25, "a dead sandbox", Scene.make_a_dead_sandbox),
    (30, "unknown keys", Scene.make_unknown_keys),
    (35, "a table that is refused", Scene.make_stale),
    (40, "a proxy that hangs", Scene.make_a_proxy_hang),
    (45, "a baseline that fails", Scene.make_a_baseline_fail),
    (50, "it goes on", Scene.let_it_go_on),
    (55, "a loop", Scene.make_a_loop),
    (60, "a proxy that is killed", Scene.make_a_proxy_missing),
    (65, "more connections than there is room for", Scene.make_connections),
)
_END_S = 80
_STEP_S = 2.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.observability", description=__doc__)
    parser.add_argument("--picture", type=Path, required=True, help="where the SVG goes")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as name,
        running_prometheus(Path(name) / "prometheus") as prometheus,
        running_scene(Path(name), prometheus) as scene,
    ):
        began_s = time.time()
        scene.again_and_again(lambda: call(scene.proxies["sidecar"].port), 0.5)
        for at_s, what, act in _PLAN:
            time.sleep(max(began_s + at_s - time.time(), 0))
            print(f"{at_s} s: {what}", flush=True)
            act(scene)
        time.sleep(max(began_s + _END_S - time.time(), 0))
        ended_s = time.time()
        title = "Pointsman: 25 s of ordinary traffic, then a fault every 5 s (each is told in the README beside this)"
        text = picture(lambda expr: _asked(prometheus, expr, began_s, ended_s), began_s, ended_s, title)
    arguments.picture.write_text(text, encoding="utf-8")
    return 0


def _asked(prometheus: Prometheus, expr: str, began_s: float, ended_s: float) -> list[Series]:
    sent = without_variables(expr, _END_S, {"job": "proxies", "instance": ".*", "controller": "controllers"})
    return [
        (series["metric"], [(float(at), float(value)) for at, value in series["values"]])
        for series in prometheus.range(sent, began_s, ended_s, step_s=_STEP_S)
    ]


if __name__ == "__main__":
    sys.exit(main())
