import json

from benchmarks.heads import sandbox_keys
from benchmarks.targets import routing_table
from proxy.routing.wire import read_document


def test_the_sidecar_accepts_the_routing_table() -> None:
    keys = sandbox_keys(20)
    table = read_document(json.loads(routing_table(keys, 8081, 9081)))
    assert {route.key for route in table.routes} == {key.encode() for key in keys}
