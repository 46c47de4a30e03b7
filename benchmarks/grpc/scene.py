"""Origins that speak gRPC over h2c, and how to ask them, or a target, for one call."""

from benchmarks.grpc import calls, client
from benchmarks.origin import Origin
from benchmarks.probe import Answer, first_answer
from benchmarks.processes import Child
from benchmarks.scene import Scene


class GrpcScene(Scene):
    http2 = True

    def first_answer(self, child: Child, port: int, sandboxes: int, timeout_s: float) -> int:
        values = calls.values("core", self.keys(sandboxes), self.next_seed())
        return first_answer(child, lambda: client.ask(port, values), self.sandbox.mark, timeout_s)

    def start_origin(self, mark: str) -> Origin:
        return Origin(mark, cpus=self.cores.load, folder=self.folder, use_nginx=False, module="benchmarks.grpc.origin")

    def ask_origin(self, port: int) -> Answer:
        return client.ask(port, calls.values("core", [], self.next_seed()))
