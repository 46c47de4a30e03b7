"""What an HTTPRoute does, as parts of Envoy's Route."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

Document = dict[str, Any]

_TYPES = "type.googleapis.com/envoy.extensions"
_RETRY_ON = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
_PREVIOUS_HOSTS = {
    "name": "envoy.retry_host_predicates.previous_hosts",
    "typed_config": {"@type": f"{_TYPES}.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
}
_PREVIOUS_PRIORITIES = {
    "name": "envoy.retry_priorities.previous_priorities",
    "typed_config": {
        "@type": f"{_TYPES}.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
        "update_frequency": 2,
    },
}
FAULT = "envoy.filters.http.fault"
_REDIRECTS = {
    301: "MOVED_PERMANENTLY",
    302: "FOUND",
    303: "SEE_OTHER",
    307: "TEMPORARY_REDIRECT",
    308: "PERMANENT_REDIRECT",
}


def cluster(destination: Document, port: int) -> str:
    """The destination's own port, else the one that is called (route.go: GetDestinationCluster)."""
    number = (destination.get("port") or {}).get("number", port)
    return f"outbound|{number}|{destination.get('subset') or ''}|{destination['host']}"


def apply(route: Document, http: Document, port: int) -> None:
    """Adds the action to a route that has its match (route.go: TranslateRoute)."""
    operations, authority = header_operations(http.get("headers"))
    route.update(operations)
    if http.get("redirect"):
        route["redirect"] = _redirect(http["redirect"], port)
    elif http.get("directResponse"):
        route["direct_response"] = _direct_response(http["directResponse"])
    else:
        _forward(route, http, port, authority)
    if http.get("corsPolicy"):
        raise NotImplementedError("corsPolicy")
    if fault := _fault(http.get("fault")):
        route["typed_per_filter_config"] = {FAULT: fault}


def _forward(route: Document, http: Document, port: int, authority: str) -> None:
    """(route.go: applyHTTPRouteDestination)"""
    timeout = http.get("timeout") or "0s"
    action: Document = {"timeout": timeout, "max_grpc_timeout": timeout}
    route["route"] = action
    if rewrite := http.get("rewrite"):
        if by_regex := rewrite.get("uriRegexRewrite"):
            action["regex_rewrite"] = {
                "pattern": {"regex": by_regex["match"]},
                "substitution": by_regex.get("rewrite", ""),
            }
        elif rewrite.get("uri"):
            action["prefix_rewrite"] = rewrite["uri"]
        authority = rewrite.get("authority") or authority
    if authority:
        action["host_rewrite_literal"] = authority
    if mirrors := _mirrors(http, port):
        action["request_mirror_policies"] = mirrors
    destinations = http.get("route") or []
    if len(destinations) == 1:
        (single,) = destinations
        action["cluster"] = cluster(single["destination"], port)
        operations, own_authority = header_operations(single.get("headers"))
        for name, values in operations.items():
            route[name] = [*route.get(name, []), *values]
        if own_authority and "host_rewrite_literal" not in action:
            action["host_rewrite_literal"] = own_authority
    else:
        weighted = [_weighted(one, port) for one in destinations if one.get("weight")]
        action["weighted_clusters"] = {"clusters": weighted}
    if policy := _retries(http.get("retries")):
        action["retry_policy"] = policy


def _weighted(destination: Document, port: int) -> Document:
    """(route.go: processWeightedDestination; a weight of 0 leaves a destination out)"""
    operations, authority = header_operations(destination.get("headers"))
    weighted = {"name": cluster(destination["destination"], port), "weight": destination["weight"], **operations}
    if authority:
        weighted["host_rewrite_literal"] = authority
    return weighted


def header_operations(headers: Document | None) -> tuple[Document, str]:
    """Envoy's fields, and the authority if `host` is set among them (route.go: TranslateHeadersOperations)."""
    fields: Document = {}
    authority = {"set": "", "add": ""}
    for side in ("request", "response"):
        operations = (headers or {}).get(side) or {}
        added = []
        for verb, action in (("set", "OVERWRITE_IF_EXISTS_OR_ADD"), ("add", "APPEND_IF_EXISTS_OR_ADD")):
            for name, value in sorted((operations.get(verb) or {}).items()):
                if side == "request" and name.lower() in (":authority", "host"):
                    authority[verb] = value
                if not _is_internal(name):
                    added.append({"header": {"key": name, "value": value}, "append_action": action})
        if added:
            fields[f"{side}_headers_to_add"] = added
        if removed := [name for name in operations.get("remove") or [] if not _is_internal(name)]:
            fields[f"{side}_headers_to_remove"] = removed
    return fields, authority["set"] or authority["add"]


def _is_internal(name: str) -> bool:
    return name.startswith(":") or name.lower() == "host"


def _redirect(redirect: Document, port: int) -> Document:
    """(route.go: ApplyRedirect, without TLS)"""
    action: Document = {"response_code": _REDIRECTS[redirect.get("redirectCode") or 301]}
    if redirect.get("authority"):
        action["host_redirect"] = redirect["authority"]
    if redirect.get("uri"):
        action["path_redirect"] = redirect["uri"]
    if redirect.get("scheme"):
        action["scheme_redirect"] = redirect["scheme"]
    number = redirect.get("port") or (port if redirect.get("derivePort") == "FROM_REQUEST_PORT" else 0)
    if number and (number, redirect.get("scheme") or "http") not in ((80, "http"), (443, "https")):
        action["port_redirect"] = number
    return action


def _direct_response(response: Document) -> Document:
    """(route.go: ApplyDirectResponse)"""
    action: Document = {"status": response["status"]}
    body = response.get("body") or {}
    if "string" in body:
        action["body"] = {"inline_string": body["string"]}
    elif "bytes" in body:
        action["body"] = {"inline_bytes": body["bytes"]}
    return action


def _mirrors(http: Document, port: int) -> list[Document]:
    """(route.go: MirrorPercent, MirrorPercentByPolicy, TranslateRequestMirrorPolicy)"""
    found = []
    if http.get("mirror"):
        percent = (http.get("mirrorPercentage") or {}).get("value", http.get("mirrorPercent", 100))
        found.append((http["mirror"], percent))
    for mirror in http.get("mirrors") or []:
        if mirror.get("destination"):
            found.append((mirror["destination"], (mirror.get("percentage") or {}).get("value", 100)))
    return [
        {
            "cluster": cluster(destination, port),
            "runtime_fraction": {"default_value": _fraction(percent)},
            "trace_sampled": False,
        }
        for destination, percent in found
        if percent > 0
    ]


def _fraction(percent: float) -> Document:
    return {"numerator": int(percent * 10000), "denominator": "MILLION"}


def _retries(retries: Document | None) -> Document | None:
    """(retry.go: ConvertPolicy; the mesh's default is two attempts)"""
    policy: Document = {
        "num_retries": 2,
        "retry_on": _RETRY_ON,
        "host_selection_retry_max_attempts": 5,
        "retry_host_predicate": [_PREVIOUS_HOSTS],
    }
    if retries is None:
        return policy
    if retries.get("attempts", 0) <= 0:
        return None
    policy["num_retries"] = retries["attempts"]
    if retries.get("retryOn"):
        policy["retry_on"], codes = _retry_on(retries["retryOn"])
        if codes:
            policy["retriable_status_codes"] = codes
    if retries.get("perTryTimeout"):
        policy["per_try_timeout"] = retries["perTryTimeout"]
    if retries.get("retryIgnorePreviousHosts") is False:
        del policy["retry_host_predicate"]
    if retries.get("retryRemoteLocalities"):
        policy["retry_priority"] = _PREVIOUS_PRIORITIES
    if retries.get("backoff"):
        policy["retry_back_off"] = {"base_interval": retries["backoff"]}
    return policy


def _retry_on(text: str) -> tuple[str, list[int]]:
    """Status codes may stand among the conditions (retry.go: parseRetryOn)."""
    known = {status.value for status in HTTPStatus}
    words = [word.strip() for word in text.split(",") if word.strip()]
    codes = [int(word) for word in words if word.isdigit() and int(word) in known]
    conditions = [word for word in words if not (word.isdigit() and int(word) in known)]
    if codes and "retriable-status-codes" not in conditions:
        conditions.append("retriable-status-codes")
    return ",".join(conditions), codes


def _fault(fault: Document | None) -> Document | None:
    """(route.go: TranslateFault)"""
    found: Document = {}
    if (delay := (fault or {}).get("delay")) and "fixedDelay" in delay:
        percent = (delay.get("percentage") or {}).get("value", delay.get("percent", 0))
        found["delay"] = {"fixed_delay": delay["fixedDelay"], "percentage": _fraction(percent)}
    if abort := (fault or {}).get("abort"):
        found["abort"] = {"percentage": _fraction((abort.get("percentage") or {}).get("value", 0))}
        if "httpStatus" in abort:
            found["abort"]["http_status"] = abort["httpStatus"]
        else:
            raise NotImplementedError("a fault with a gRPC status")
    if not found:
        return None
    return {"@type": f"{_TYPES}.filters.http.fault.v3.HTTPFault", **found}
