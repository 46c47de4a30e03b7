"""A soak: a real proxy under steady load while everything round it changes, and books that say whether it was right.

`python -m tests.soak --seconds N --seed S`. Reading order:

    model      a routing table as the proxy must understand it: which outcome a request has (SPEC 4, told once more)
    evolution  tables that follow each other at random: keys come, go, move, are not ready; some documents are invalid
    history    which tables and which illnesses of places count for a request, by its start and its end
    books      what arrived at the places
    places     origins, the baseline among them, that die and return, close early, answer by halves, or late
    asking     one request: its bytes, and the whole answer that it must get
    calls      the same over HTTP/2, and gRPC calls
    judge      each answer against all of that; every violation is kept with the tables concerned
    statuses   the proxy's own words, and how gRPC calls end
    peer       a client's end of one connection
    h2_side h2_peer h2_places    either end of an HTTP/2 connection: a client's, which many requests share; a place's
    steady dialogs    well-behaved clients: keep-alive, pipelining, uploads, event streams; WebSocket
    h2_steady  clients with many streams at once, each with a key of its own; some calls are cancelled
    bad h2_bad    clients that are slow, leave in the middle, send garbage, or come in floods
    swaps      puts tables in force and confirms each
    vitals     memory and open files of the process, and its end
    scene      all of it together; __main__ prints what came out

Nothing here asserts how long anything took; there are only limits beyond which something counts as hanging (`HANG_S`).
What is random comes from the seed; what is not in anybody's hand (which request meets which swap) does not.
"""

HANG_S = 60.0
