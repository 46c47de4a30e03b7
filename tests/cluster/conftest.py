"""One control plane for all tests of a session, and a namespace for each."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import pytest

from tests.support.celrules import MISSING, CelRules
from tests.support.cluster import Cluster, crd_folder, missing, run_cluster
from tests.support.kube import Client, Object


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """With all definitions of POINTSMAN_TEST_CRDS."""
    if reason := missing():
        pytest.skip(reason)
    with run_cluster(tmp_path_factory.mktemp("cluster"), crds=crd_folder()) as running:
        yield running


@pytest.fixture(scope="session")
def cel_rules() -> CelRules:
    """What the definitions say beyond what the server understands."""
    if reason := missing() or MISSING:
        pytest.skip(reason)
    return _rules()


@pytest.fixture(scope="session")
def broken_rules(cluster: Cluster) -> Callable[[Object], list[str]]:
    """The same for one object; where rules can't be read, none is broken: a test of `cel_rules` says so."""
    return _rules().broken if MISSING is None else lambda _: []


@pytest.fixture
def kube(cluster: Cluster) -> Client:
    """The administrator."""
    return cluster.admin


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    with cluster.namespace() as name:
        yield name


@functools.cache
def _rules() -> CelRules:
    folder = crd_folder()
    assert folder is not None
    return CelRules(folder)
