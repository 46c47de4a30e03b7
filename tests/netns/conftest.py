"""What the tests in network namespaces share: a pod with rules, and a sidecar in it for captured connections."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.support.netns import LISTEN, Pod, what_is_missing
from tests.support.origin import Origin
from tests.support.proxy import Proxy, run_proxy

PORTS = (8081, 8082, 8083)


_what_is_missing = functools.cache(what_is_missing)


@pytest.fixture
def pod() -> Iterator[Pod]:
    """Its rules capture `PORTS`."""
    missing = _what_is_missing()
    if missing is not None:
        pytest.skip(missing)
    pod = Pod()
    try:
        pod.capture("apply", "--ports", ",".join(map(str, PORTS)))
        yield pod
    finally:
        pod.close()


RunSidecar = Callable[..., AbstractContextManager[Proxy]]


@pytest.fixture
def run_sidecar(pod: Pod, tmp_path: Path) -> RunSidecar:
    """A transparent sidecar in the pod."""

    @contextlib.contextmanager
    def run(
        *flags: str,
        document: Mapping[str, object] | None = None,
        listen: tuple[str, ...] = ("0.0.0.0", "[::]"),
        source: str | None = "127.0.0.6",
        detect_timeout: str = "0.1",
        controller: str | None = None,
    ) -> Iterator[Proxy]:
        all_flags = ["--transparent", "--detect-timeout", detect_timeout, "--decision-header", *flags]
        for host in listen:
            all_flags += ["--listen", f"{host}:{LISTEN}"]
        if source is not None:
            all_flags += ["--upstream-source", source]
        # `pod.inside`: the admin pages are asked from there.
        with (
            pod.inside(),
            run_proxy(
                tmp_path,
                document=document,
                flags=tuple(all_flags),
                workload_ports=(),
                prefix=pod.proxy_prefix,
                controller=controller,
            ) as proxy,
        ):
            yield proxy

    return run


@pytest.fixture
def sidecar(run_sidecar: RunSidecar) -> Iterator[Proxy]:
    with run_sidecar() as proxy:
        yield proxy


def origin_at(pod: Pod, address: str, port: int, name: str = "baseline") -> Origin:
    """An application in the pod."""
    with pod.inside():
        return Origin(name, address=(address, port))
