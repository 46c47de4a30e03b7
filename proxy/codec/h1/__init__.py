"""HTTP/1.1 (RFC 9112) as incremental readers and a writer, without I/O.

Strict wherever framing is at stake: a message that two implementations could read differently is refused, never guessed
at. `request` and `response` read heads; what follows a head (`reader`) is the same in both directions.
"""
