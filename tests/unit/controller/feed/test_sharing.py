"""What is the same for many proxies is made once."""

from controller.feed.book import Book
from controller.keystate import KeyState
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import Mapping, Route

WORKLOADS = [Workload("shop", "Deployment", name) for name in ("cart", "search", "stock")]


def state(key: str, *workloads: Workload) -> KeyState:
    mappings = (Mapping(8081, None, "preserve", (Endpoint("10.0.0.1", 9081),)),)
    return KeyState(key, is_live=True, routes=tuple(Route(key, "pr-1", each, mappings) for each in workloads))


def test_those_whom_a_change_does_not_concern_share_its_text() -> None:
    book = Book("01")
    book.apply(1, "v1", [state("before", *WORKLOADS)])
    book.apply(2, "v2", [state("key", WORKLOADS[0])])
    concerned, *others = [book.change(workload, 1, "v1") for workload in WORKLOADS]
    assert others[0] is others[1]
    assert concerned != others[0]
    assert '"pr-1"' in "".join(concerned or ())
    assert '"pr-1"' not in "".join(others[0] or ())
    assert book.change(WORKLOADS[0], 1, "v1") is concerned
