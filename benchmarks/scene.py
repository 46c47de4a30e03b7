"""What all targets share: cores, a folder for their files, the two origins, the requests and the keys in them."""

import itertools
import os
from dataclasses import dataclass
from pathlib import Path

from benchmarks import heads, nginx
from benchmarks.origin import BASELINE, SANDBOX, Origin
from benchmarks.probe import Answer, ask, first_answer
from benchmarks.processes import Child, Cores

_ORIGIN_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Bodies:
    """Bytes of each request's and each response's body, where they are not the usual small GETs."""

    up: int = 0
    down: int = 0


class Scene:
    """With requests in HTTP/1.1; `benchmarks.grpc.scene` has another."""

    http2 = False

    def __init__(self, cores: Cores, folder: Path, *, own_tools: bool, bodies: Bodies = Bodies()) -> None:
        """Starts the origins. `own_tools`: ours even where nginx is installed."""
        self.bodies = bodies
        self.cores, self.folder = cores, folder
        self.nginx_origin = not own_tools and nginx.find() is not None
        self._keys: dict[int, list[str]] = {}
        self._folders = itertools.count(1)
        self._seed = int.from_bytes(os.urandom(3), "big")
        self._origins: list[Origin] = []
        self.templates = {
            False: self._written("heads-untagged", heads.templates_text(heads.UNTAGGED)),
            True: self._written("heads-tagged", heads.templates_text(heads.TAGGED)),
        }
        try:
            self.baseline, self.sandbox = self._origin(BASELINE), self._origin(SANDBOX)
        except BaseException:
            self.stop()
            raise

    def expected_origin(self, tagged: bool) -> Origin:
        return self.sandbox if tagged else self.baseline

    def keys(self, sandboxes: int) -> list[str]:
        if sandboxes not in self._keys:
            self._keys[sandboxes] = heads.sandbox_keys(sandboxes)
        return self._keys[sandboxes]

    def key_file(self, sandboxes: int) -> Path:
        path = self.folder / f"keys-{sandboxes}"
        return path if path.exists() else self._written(path.name, "\n".join(self.keys(sandboxes)) + "\n")

    def first_answer(self, child: Child, port: int, sandboxes: int, timeout_s: float) -> int:
        """Waits until a tagged request through this port reaches the sandbox. Returns the monotonic time in ns."""
        head = heads.Heads(heads.TAGGED, self.keys(sandboxes), self.next_seed()).next()
        return first_answer(child, lambda: ask(port, head), self.sandbox.mark, timeout_s)

    def next_seed(self) -> int:
        self._seed += 1
        return self._seed

    def new_folder(self, name: str) -> Path:
        folder = self.folder / f"{next(self._folders)}-{name}"
        folder.mkdir()
        return folder

    def counts(self) -> dict[str, int]:
        return {origin.mark: origin.count() for origin in (self.baseline, self.sandbox)}

    def stop(self) -> None:
        for origin in self._origins:
            origin.child.stop()

    def _origin(self, mark: str) -> Origin:
        origin = self.start_origin(mark)
        self._origins.append(origin)
        first_answer(origin.child, lambda: self.ask_origin(origin.port), mark, _ORIGIN_TIMEOUT_S)
        return origin

    def start_origin(self, mark: str) -> Origin:
        return Origin(
            mark, cpus=self.cores.load, folder=self.folder, use_nginx=self.nginx_origin, body_bytes=self.bodies.down
        )

    def ask_origin(self, port: int) -> Answer:
        return ask(port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")

    def _written(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path
