"""gRPC over HTTP/2 without TLS (h2c): unary calls and open streams, through the sidecar and through Envoy.

Client and origin are our own, at the level of frames: h2load cannot give each request its own fields, and gRPC for
Python costs ten times what is measured. They write what gRPC's own programs write (see `calls` and `origin`).

Reading order: `plan` says what is measured -> `scene` starts origins -> `rounds` measures each target in turn ->
`load` with `calls` is the client, `origin` the services, both on `frames`.
"""
