"""The REST API, on aiohttp.

app          operations -> an aiohttp application: who may, what is refused, problems instead of pages
operations   what there is: one row each makes the route and its part of the OpenAPI document
pages        all rows              openapi   the document           schemas   shapes of bodies
problems     errors as application/problem+json (RFC 9457)
guard        requests that browsers make for others
services     what the pages stand on
bodies       JSON and YAML bodies, parameters
objects      sandboxes and route groups
rules        routing rules, pure   ruleswatch   their pages and the stream of changes
receipts     whether it is live everywhere, who answered requests, which proxies there are
feed         the WebSocket of each proxy
explain      where a request would go
live         all there is to see, and its changes, as server-sent events
ui           the page's files, which are in www: plain HTML, CSS and ES modules, app.js first
health       /livez /readyz        metrics   /metrics
"""
