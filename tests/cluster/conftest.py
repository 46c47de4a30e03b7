"""One control plane for all tests of a session, and a namespace for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cluster import Cluster, crd_folder, missing, run_cluster
from tests.support.kube import Client


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """With all definitions of POINTSMAN_TEST_CRDS."""
    if reason := missing():
        pytest.skip(reason)
    with run_cluster(tmp_path_factory.mktemp("cluster"), crds=crd_folder()) as running:
        yield running


@pytest.fixture
def kube(cluster: Cluster) -> Client:
    """The administrator."""
    return cluster.admin


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    with cluster.namespace() as name:
        yield name
