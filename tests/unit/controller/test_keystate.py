from __future__ import annotations

from controller.keystate import KeyState, combined_version
from proxy.routing.names import Endpoint
from proxy.routing.table import GoneRoute, Mapping, Preview, Route
from tests.support.objects import workload

AT = Endpoint("h", 80)


def route(
    sandbox: str = "s", name: str = "a", port: int = 80, protocol: str | None = None, to: tuple[Endpoint, ...] = (AT,)
) -> Route:
    return Route("k", sandbox, workload(name), (Mapping(port, protocol, "preserve", to),))


def test_every_part_counts() -> None:
    states = [
        KeyState("k"),
        KeyState("j", is_live=True),
        KeyState("k", is_live=True),
        KeyState("k", is_gone=True),
        KeyState("k", is_live=True, gone_routes=(GoneRoute("k", workload("a")),)),
        KeyState("k", is_live=True, gone_routes=(GoneRoute("k", workload("b")),)),
        KeyState("k", is_live=True, previews=(Preview("d", "e", AT, "k"),)),
        KeyState("k", is_live=True, previews=(Preview("d", "f", AT, "k"),)),
        KeyState("k", is_live=True, previews=(Preview("d", "f", Endpoint("h", 81), "k"),)),
    ]
    routes = [
        (route(),),
        (route("t"),),
        (route(name="b"),),
        (route(port=81),),
        (route(protocol="http"),),
        (route(to=()),),
        (route(to=(Endpoint("i", 80),)),),
        (route(to=(Endpoint("h", 81),)),),
        (route(to=(AT, AT)),),
        (route(), route(name="b")),
        (Route("k", "s", workload("a"), ()),),
        (Route("k", "s", workload("a"), (Mapping(80, None, "destination", (AT,)),)),),
    ]
    states += [KeyState("k", is_live=True, routes=each) for each in routes]
    assert len({state.digest for state in states}) == len(states)
    assert len({combined_version(state.digest, "") for state in states}) == len(states)


def test_equal_states_have_equal_digests() -> None:
    assert (
        KeyState("k", is_live=True, routes=(route(),)).digest == KeyState("k", is_live=True, routes=(route(),)).digest
    )


def test_the_version_is_of_the_sum() -> None:
    one, two = KeyState("a", is_live=True).digest, KeyState("b", is_live=True).digest
    assert combined_version(one + two, "") == combined_version(two + one, "")
    assert combined_version(one + two - one, "") == combined_version(two, "")
    assert combined_version(one, "") != combined_version(one, "services")


def test_who_needs_to_know() -> None:
    assert not KeyState("k").is_known
    assert KeyState("k", is_live=True).is_known
    assert KeyState("k", is_gone=True).is_known
