"""How much there is of everything."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConvergenceLoad:
    """One choice for a run."""

    sandboxes: int = 10_000
    proxies: int = 200  # in all
    processes: int = 5  # of them
    routers: int = 2  # beside them
    changes: int = 60
    reconnecting: int = 1_000  # proxies in all when the controller is killed; 0: it is not
