"""The routing key, the routing table and the decision, pure: no I/O, no clock, no event loop, standard library only.

Reading order is the order of a request: `key` (with `baggage` and `tracestate`) finds the key, `table` (with `view` and
`gone`) knows what is routed, `decision` says where the request goes, `explain` says why. `text` and `wire` turn a file
or a feed's document into a table. The words' grammars are in `names`.
"""
