"""The REST API, on aiohttp.

app          operations -> an aiohttp application: who may, what is refused, problems instead of pages
operations   what there is: one row each makes the route and its part of the OpenAPI document   openapi  the document
problems     errors as application/problem+json (RFC 9457)      guard  requests that browsers make for others
services     what the pages stand on
health       /livez /readyz                                     metrics  /metrics
bodies       JSON and YAML bodies                               objects  sandboxes and route groups
audit        a line for each change                             quotas   how many objects there may be
explain      where a request would go                           rules, ruleswatch  routing rules, and their changes
"""
