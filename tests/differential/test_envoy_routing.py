"""Where requests go: by our reading of the routing headers, and by the regex that teams with Istio use today (SPEC 8),
programmed into a real Envoy.

`DEVIATIONS` is the reviewed list of headers that lead to different places. Each entry fails when it is no longer true;
each of `ALIKE` fails when it becomes a deviation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.client import get
from tests.support.envoy import Route, run_envoy
from tests.support.proxy import KEY, route, run_proxy, table
from tests.support.wire import WireOrigin, asked

ENCODED = f"%{ord(KEY[0]):x}{KEY[1:]}"  # the key, its first character percent-encoded

Lines = tuple[str, ...]

ALIKE: list[tuple[str, Lines]] = [
    # tagged
    ("sandbox", (f"baggage: sd-routing-key={KEY}",)),
    ("sandbox", (f"Baggage: user=alice,sd-routing-key={KEY},region=eu",)),
    ("sandbox", (f"baggage: sd-sandbox={KEY}",)),
    ("sandbox", (f"baggage:sd-routing-key\t=  {KEY} , user=alice",)),
    ("sandbox", (f"baggage: ,,sd-routing-key={KEY},,",)),
    ("sandbox", (f"baggage: sd-routing-key={KEY};ttl=1;once",)),
    ("sandbox", (f"baggage: sd-routing-key={KEY}%3Bttl%3D1",)),
    ("sandbox", (f"baggage: sd-routing-key={KEY}+%3Bttl%3D1",)),
    ("sandbox", ("baggage: user=alice", f"baggage: sd-routing-key={KEY}")),
    ("sandbox", (f"baggage: sd-routing-key=other,sd-routing-key={KEY}",)),
    ("sandbox", (f"baggage: sd-routing-key={KEY},sd-sandbox=other",)),
    ("sandbox", (f"tracestate: sd-routing-key={KEY}",)),
    ("sandbox", (f"tracestate: congo=t61rcWkgMzE , sd-sandbox={KEY}",)),
    ("sandbox", ("tracestate: congo=t61", f"tracestate: sd-routing-key={KEY}")),
    ("sandbox", (f"tracestate: sd-routing-key={KEY},sd-routing-key=other",)),
    ("sandbox", ("baggage: user=alice", f"tracestate: sd-routing-key={KEY}")),
    ("sandbox", (f"baggage: sd-routing-key={KEY}", "tracestate: sd-routing-key=other")),
    # not tagged, or by another key
    ("baseline", ()),
    ("baseline", ("baggage:",)),
    ("baseline", ("baggage: sd-routing-key=",)),
    ("baseline", ("baggage: sd-routing-key",)),
    ("baseline", ("baggage: sd-routing-key=other",)),
    ("baseline", (f"baggage: sd-routing-key={KEY}x",)),
    ("baseline", (f"baggage: sd-routing-key=x{KEY}",)),
    ("baseline", (f"baggage: sd-routing-key={KEY.upper()}",)),
    ("baseline", (f"baggage: SD-ROUTING-KEY={KEY}",)),
    ("baseline", (f"baggage: sd_routing_key={KEY}",)),
    ("baseline", (f"baggage: sd%2Drouting-key={KEY}",)),
    ("baseline", (f"baggage: user={KEY},sd-routing-key=other",)),
    ("baseline", (f"baggage: sd-routing-key=other,{KEY}",)),
    ("baseline", (f"tracestate: sd-routing-key={ENCODED}",)),
    ("baseline", (f"sd-routing-key: {KEY}",)),
    ("baseline", (f"x-baggage: sd-routing-key={KEY}",)),
]

# (why we are right, lines, where we send it, where Envoy does)
DEVIATIONS: list[tuple[str, Lines, str, str]] = [
    # SPEC 3: names match exactly. A word boundary stands behind every `-`, `.` and `=`.
    ("another name that ends alike", (f"baggage: x-sd-routing-key={KEY}",), "baseline", "sandbox"),
    ("another name, with a dot", (f"baggage: x.sd-routing-key={KEY}",), "baseline", "sandbox"),
    ("a tenant's name (trace context 3.3.1.3.1)", (f"tracestate: t@sd-routing-key={KEY}",), "baseline", "sandbox"),
    ("a value that looks like a member", (f"baggage: user=sd-routing-key={KEY}",), "baseline", "sandbox"),
    ("a property of another member (baggage 3.2.1.4)", (f"baggage: a=1;sd-routing-key={KEY}",), "baseline", "sandbox"),
    # SPEC 3: the whole value is the key, and `-` and `.` belong to it
    ("another key that starts alike", (f"baggage: sd-routing-key={KEY}-x",), "baseline", "sandbox"),
    ("another key that ends alike", (f"baggage: sd-routing-key=x-{KEY}",), "baseline", "sandbox"),
    ("another key, with a dot", (f"tracestate: sd-routing-key={KEY}.x",), "baseline", "sandbox"),
    ("a property is not the value", (f"baggage: sd-routing-key=other;p={KEY}",), "baseline", "sandbox"),
    ("a value that is no key", (f"baggage: sd-routing-key=a/{KEY}",), "baseline", "sandbox"),
    ("a broken escape in front", (f"baggage: sd-routing-key=%zz.{KEY}",), "baseline", "sandbox"),
    # SPEC 3: values in baggage are percent-encoded (baggage 3.2.1.3); SDKs decode them
    ("the key, encoded", (f"baggage: sd-routing-key={ENCODED}",), "sandbox", "baseline"),
    ("the key behind an encoded blank", (f"baggage: sd-routing-key=%20{KEY}",), "sandbox", "baseline"),
    ("another key with an encoded dash", (f"baggage: sd-routing-key={KEY}%2Dx",), "baseline", "sandbox"),
    # SPEC 3: a member that breaks the grammar is none
    ("quotes are not for values (baggage 3.2.1.3)", (f'baggage: sd-routing-key="{KEY}"',), "baseline", "sandbox"),
    ("nor are blanks inside", (f"baggage: sd-routing-key=a {KEY}",), "baseline", "sandbox"),
    ("a blank instead of a comma", (f"baggage: user=alice sd-routing-key={KEY}",), "baseline", "sandbox"),
    ("no blank before = (trace context 3.3.1)", (f"tracestate: sd-routing-key ={KEY}",), "baseline", "sandbox"),
    ("nor behind it", (f"tracestate: sd-routing-key= {KEY}",), "baseline", "sandbox"),
    # SPEC 3: one member decides, as the services' SDKs resolve it; the regex finds any
    ("the last in baggage", (f"baggage: sd-routing-key={KEY},sd-routing-key=other",), "baseline", "sandbox"),
    (
        "the last of two lines",
        (f"baggage: sd-routing-key={KEY}", "baggage: sd-routing-key=other"),
        "baseline",
        "sandbox",
    ),
    ("the first in tracestate", (f"tracestate: sd-routing-key=other,sd-routing-key={KEY}",), "baseline", "sandbox"),
    ("the earlier name", (f"baggage: sd-sandbox={KEY},sd-routing-key=other",), "baseline", "sandbox"),
    (
        "baggage before tracestate",
        ("baggage: sd-routing-key=other", f"tracestate: sd-routing-key={KEY}"),
        "baseline",
        "sandbox",
    ),
    (
        "no falling through behind a value that is no key",
        ("baggage: sd-routing-key=%zz", f"tracestate: sd-routing-key={KEY}"),
        "baseline",
        "sandbox",
    ),
]


@dataclass(frozen=True)
class Two:
    """Where ours and Envoy listen."""

    our_port: int
    envoy_port: int

    def places(self, lines: Lines) -> tuple[str, str]:
        """Where each sends a request with these lines: `sandbox`, `baseline`, or our own status."""
        return _place(self.our_port, lines), _place(self.envoy_port, lines)


def _place(port: int, lines: Lines) -> str:
    (answer,) = asked(port, get("/", *lines, "Connection: close"), patience_s=10, quiet_s=10)
    return answer.origin or str(answer.status)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    folder: Path = tmp_path_factory.mktemp("routing")
    baseline, sandbox = WireOrigin("baseline"), WireOrigin("sandbox")
    document = table(route(KEY, [sandbox.port]))
    with (
        run_envoy(folder, Route(baseline.port, sandbox.port, [KEY])) as envoy_ports,
        run_proxy(folder, baseline.port, document=document) as proxy,
    ):
        yield Two(proxy.port, envoy_ports[0])
    for origin in (baseline, sandbox):
        origin.close()


@pytest.mark.parametrize(("place", "lines"), ALIKE, ids=[" / ".join(lines) or "none" for _, lines in ALIKE])
def test_alike(place: str, lines: Lines, two: Two) -> None:
    assert two.places(lines) == (place, place)


@pytest.mark.parametrize(
    ("lines", "ours", "theirs"), [entry[1:] for entry in DEVIATIONS], ids=[entry[0] for entry in DEVIATIONS]
)
def test_deviation(lines: Lines, ours: str, theirs: str, two: Two) -> None:
    assert ours != theirs
    assert two.places(lines) == (ours, theirs)
