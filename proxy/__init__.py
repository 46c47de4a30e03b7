"""The sidecar: a header-aware routing proxy.

Reading order is data order; one request goes

    net/listener      accepted
    net/downstream    bytes in                         codec/h1/request   the head, parsed
    exchange          one request and its response     routing/key        the routing key in its headers
                                                       routing/decision   where it goes, and why
    net/pool          a connection to that endpoint
    net/upstream      the request out, the response in codec/h1/response  the answer's head, parsed
    net/downstream    bytes out

and beside it: `tables` (the current routing table), `filewatch` and `tablefile` (where it comes from), `telemetry`
((counters), `admin` (pages for operators), `config` (flags), `errors` (every reason, one table).
"""

from proxy import compiled as compiled  # before any other import of ours: it says which form of the modules is used
