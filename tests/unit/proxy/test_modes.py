"""What a transparent sidecar stands before, without connections."""

from __future__ import annotations

import pytest

from proxy.config import PortSettings, SidecarSettings
from proxy.modes import BadQuestion, TransparentMode
from proxy.places import Place
from proxy.routing.decision import Policy
from proxy.routing.names import Endpoint, Workload
from proxy.routing.table import RoutingTable
from proxy.tables import TableHolder

WORKLOAD = Workload("hotrod", "Deployment", "location")
POD = "10.0.0.5"


def mode(*named: PortSettings) -> TransparentMode:
    return TransparentMode(SidecarSettings(WORKLOAD, named, 0.1), Policy(), TableHolder(WORKLOAD, "t"), None)


def test_a_ports_application_is_where_it_was_called() -> None:
    transparent = mode(PortSettings(Endpoint("localhost", 9000), 8082))
    assert transparent.captured(POD, 8081)[1] == Endpoint(POD, 8081)
    assert transparent.captured("fd77::2", 8081)[1] == Endpoint("fd77::2", 8081)
    assert transparent.captured(POD, 8082)[1] == Endpoint("localhost", 9000)
    assert set(transparent.baselines) == {
        Endpoint(POD, 8081),
        Endpoint("fd77::2", 8081),
        Endpoint("localhost", 9000),
    }


def test_what_is_forgotten() -> None:
    """Not what the operator named."""
    transparent = mode(PortSettings(Endpoint("localhost", 9000), 8082))
    applications = [transparent.captured(POD, port)[1] for port in (8081, 8082)]
    transparent.forget(applications)
    assert set(transparent.baselines) == {Endpoint("localhost", 9000)}


def test_a_table_reaches_ports_of_before_and_after() -> None:
    transparent = mode()
    before = transparent.captured(POD, 8081)[0]
    transparent.tables.swap(RoutingTable("1"))
    after = transparent.captured(POD, 8082)[0]
    for places in (before, after):
        place = places.find(b"a")
        assert place is not None
        assert place.view is not None


def asked(transparent: TransparentMode, port: str | None) -> int:
    place = transparent.arrival(b"location", port)
    assert isinstance(place, Place)
    return place.number


def test_explain_asks_for_the_port() -> None:
    assert asked(mode(), "8081") == 8081
    assert asked(mode(PortSettings(Endpoint("a", 1), 80)), None) == 80
    assert asked(mode(PortSettings(Endpoint("a", 1), 80)), "81") == 81
    for port in (None, "0", "65536", "http", "", "\u0663", "080808"):
        with pytest.raises(BadQuestion, match=r"^port: "):
            mode().arrival(b"location", port)
