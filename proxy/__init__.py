"""The sidecar, or the router: a header-aware routing proxy.

Reading order is data order; one request goes

    net/listener      accepted
    net/downstream    bytes in                         codec/h1/request   the head, parsed
    exchange          one request and its response     routing/key        the routing key in its headers
                                                       places             which workload it is for: a router's by host
                                                       routing/decision   where it goes, and why
    net/pool          a connection to that endpoint
    net/upstream      the request out, the response in codec/h1/response  the answer's head, parsed
    net/downstream    bytes out

With `--transparent` a connection is first `net/captured`'s, which knows where it was going (`net/arrivals`), and what
it speaks by its first bytes (`codec/firstbytes`); what is not HTTP passes as it is (`net/passing`).

In HTTP/2 the same exchange stands between other ends: `net/h2_downstream` and `net/h2_upstream`, where each stream is
one side of an exchange, over `codec/h2/connection` (frames), `stream` (flow control), `hpack` and `heads`. Where the
two sides speak different versions, `codec/translate` makes one head of the other.

Beside the path: `tables` (the current routing table), `filewatch` and `tablefile` or `feed` (where it comes from),
`telemetry` (counters), `admin` (pages for operators), `config` (flags), `errors` (every reason, one table), `answers`
(our own).
"""

from proxy import compiled as compiled  # before any other import of ours: it says which form of the modules is used
