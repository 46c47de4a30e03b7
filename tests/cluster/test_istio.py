"""Istio's definitions on a real API server: what they refuse, and that they take what we render, and give it back.

Delegates of ours are applied; owners' objects are patched, which fails where somebody else was faster.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

from controller.istio.ownership import json_patch
from controller.istio.render import Change, Options, Rendered, removed, render
from controller.istio.virtualservices import read_virtual_service
from proxy.routing.names import Endpoint
from proxy.routing.table import Route
from tests.support.kube import Answer, Client, Object
from tests.support.mesh import DELEGATE, NAMESPACE, document, entry, http, mesh, route, to

ROUTER = Endpoint("router.pointsman.svc.cluster.local", 80)
MANAGER = "pointsman"


def placed(manifest: Mapping[str, Any], namespace: str) -> Object:
    """The manifest in another namespace; nothing else of it is touched."""
    found = copy.deepcopy(dict(manifest))
    found["metadata"]["namespace"] = namespace
    return found


def owner(*routes: Object, **fields: Any) -> Object:
    """What an owner has, of all kinds."""
    rewritten = http(
        to("location", 80),
        name="api",
        match=[{"uri": {"prefix": "/api"}, "headers": {"x": {"exact": "1"}}}, {"method": {"regex": "GET|HEAD"}}],
        rewrite={"uri": "/"},
        timeout="3s",
        retries={"attempts": 2, "perTryTimeout": "1s", "retryOn": "5xx"},
        fault={"abort": {"httpStatus": 503, "percentage": {"value": 0.5}}},
        mirror={"host": "copy"},
    )
    moved = {"match": [{"uri": {"exact": "/old"}}], "redirect": {"uri": "/new"}}
    weighted = http(to("location", 80, 90), to("location-v2", 80, 10))
    return document(*routes, rewritten, moved, weighted, **fields)


@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha3"])
def test_a_valid_virtual_service_is_taken(kube: Client, namespace: str, version: str) -> None:
    manifest = placed(owner(), namespace) | {"apiVersion": f"networking.istio.io/{version}"}
    kube.must(kube.apply(manifest))
    assert kube.current(manifest)["spec"] == manifest["spec"]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"http": [{"route": [{"weight": 1}]}]}, "destination"),
        ({"http": [http(match=[{"headers": {"a": {"exact": "b", "regex": "c"}}}])]}, "oneOf"),
        ({"http": [http(match=[{"headers": {"a": {"regex": 1}}}])]}, "string"),
        ({"http": [http(timeout=3)]}, "string"),
        ({"http": [http(to("location", 1 << 33))]}, "4294967295"),
        ({"http": {"route": []}}, "array"),
        ({"gateways": "mesh"}, "array"),
    ],
)
def test_a_bad_one_is_refused(kube: Client, namespace: str, spec: Object, said: str) -> None:
    manifest = placed(document(**spec), namespace)
    refused = kube.create(manifest)
    assert refused.status == 422
    assert said in refused.message


def test_a_misspelt_field_is_dropped(kube: Client, namespace: str) -> None:
    """Pruning: so that a render of ours that says something the definitions do not know would show."""
    manifest = placed(document(http(timeOut="3s")), namespace)
    kube.must(kube.create(manifest))
    assert kube.current(manifest)["spec"]["http"] == [http()]


# --- what we render ---------------------------------------------------------------------------------------------

TABLE = (
    route("one", sandbox="hotrod/pr-1"),
    route("Two.2_", "location", "-:1", sandbox="hotrod/epic"),  # not ready
    route("x" * 63, "location", "a.hotrod.svc:8081", "b.elsewhere.svc.cluster.local:9000", sandbox="hotrod/pr-3"),
)
OWNERS: dict[str, list[Object]] = {
    "none": [],
    "of all kinds": [owner()],
    "with our delegate": [owner(DELEGATE)],
}
MODES: dict[str, Options] = {
    "rules, delegate": Options(),
    "rules, patch": Options(own="patch"),
    "signadot, patch": Options(own="patch", form="signadot"),
    "router, delegate": Options(mode="router", router=ROUTER),
    "router, patch": Options(mode="router", router=ROUTER, own="patch"),
}


def rendered(documents: Iterable[Object], routes: Iterable[Route], options: Options) -> Rendered:
    """From what stands there, as if it stood in the namespace that the routes are for."""
    found = [read_virtual_service(placed(each, NAMESPACE)) for each in documents]
    return render(mesh(*found, entries=[entry()]), routes, options)


def standing(kube: Client, namespace: str) -> list[Object]:
    return kube.list("networking.istio.io/v1", "VirtualService", namespace)


def done(kube: Client, namespace: str, change: Change, *, dry_run: bool = False) -> Answer:
    """The change at the server: ours applied or deleted, an owner's patched."""
    if change.after is None:
        assert change.is_ours
        assert change.before is not None
        return kube.delete(placed(change.before.document, namespace))
    after = placed(change.after, namespace)
    if change.is_ours:
        return kube.apply(after, manager=MANAGER, dry_run=dry_run)
    assert change.before is not None
    return kube.patch(after, json_patch(change.before, change.after), manager=MANAGER, dry_run=dry_run)


@pytest.mark.parametrize("options", MODES.values(), ids=MODES.keys())
@pytest.mark.parametrize("owners", OWNERS.values(), ids=OWNERS.keys())
def test_what_is_rendered_is_taken_as_it_is_and_taken_out_again(
    kube: Client, namespace: str, broken_rules: Callable[[Object], list[str]], owners: list[Object], options: Options
) -> None:
    for manifest in owners:
        kube.must(kube.apply(placed(manifest, namespace), manager="owner"))
    before = standing(kube, namespace)
    result = rendered(before, TABLE, options)
    wants_delegate = options.own == "delegate" and owners == OWNERS["of all kinds"]
    assert bool(result.changes) != wants_delegate  # which its owner must include first: said, and nothing done
    for change in result.changes:
        if change.after is not None and change.is_ours:
            kube.must(done(kube, namespace, change, dry_run=True))
        written = kube.must(done(kube, namespace, change))
        assert change.after is not None
        assert written["spec"] == change.after["spec"]  # nothing is dropped, nothing added
        assert broken_rules(written) == []

    assert not rendered(standing(kube, namespace), TABLE, options).changes
    gone = removed(mesh(*(read_virtual_service(placed(each, NAMESPACE)) for each in standing(kube, namespace))))
    for change in gone.changes:
        kube.must(done(kube, namespace, change))
    after = standing(kube, namespace)
    assert [(each["metadata"]["name"], each["spec"]) for each in after] == [
        (each["metadata"]["name"], each["spec"]) for each in before
    ]


def test_an_owner_who_was_faster_is_not_overwritten(kube: Client, namespace: str) -> None:
    """The patch tests resourceVersion: a stale one is refused, and one made from what stands there now is taken."""
    options = MODES["rules, patch"]
    manifest = placed(owner(), namespace)
    kube.must(kube.apply(manifest, manager="owner"))
    (change,) = rendered(standing(kube, namespace), TABLE, options).changes
    manifest["spec"]["http"].append(http(name="newer"))
    kube.must(kube.apply(manifest, manager="owner"))

    assert done(kube, namespace, change).status in (409, 422)
    assert kube.current(manifest)["spec"] == manifest["spec"]

    (change,) = rendered(standing(kube, namespace), TABLE, options).changes
    kube.must(done(kube, namespace, change))
    names = [each.get("name", "") for each in kube.current(manifest)["spec"]["http"]]
    assert "newer" in names
    assert any(name.startswith("pointsman-") for name in names)


def test_a_delegate_is_ours_alone(kube: Client, namespace: str) -> None:
    """The owner applies its own object again, as GitOps tools do: neither takes anything from the other."""
    theirs = placed(owner(DELEGATE), namespace)
    kube.must(kube.apply(theirs, manager="argocd"))
    (change,) = rendered(standing(kube, namespace), TABLE, MODES["rules, delegate"]).changes
    kube.must(done(kube, namespace, change))
    kube.must(kube.apply(theirs, manager="argocd"))
    assert not rendered(standing(kube, namespace), TABLE, MODES["rules, delegate"]).changes


def test_a_patched_list_is_a_conflict_for_its_owner(kube: Client, namespace: str) -> None:
    """Why a delegate is the default: lists of routes are atomic, so who applies them again is refused, or takes ours
    out by force."""
    theirs = placed(owner(), namespace)
    kube.must(kube.apply(theirs, manager="argocd"))
    (change,) = rendered(standing(kube, namespace), TABLE, MODES["rules, patch"]).changes
    kube.must(done(kube, namespace, change))
    refused = kube.apply(theirs, manager="argocd")
    assert (refused.status, refused.reason) == (409, "Conflict")
    kube.must(kube.apply(theirs, manager="argocd", force=True))
    assert kube.current(theirs)["spec"] == theirs["spec"]
