"""What is shown while it happens: objects, proxies and counts as rows, and what changed of them since a reader looked.

    board   pure   rows with revisions: all, or what changed since one
    rows    pure   what a row says
    watch   asyncio   keeps the rows, for as long as somebody looks

A reader is one number, the revision that it has seen. So one that is slow, or away for a while, costs nothing: what it
missed is what changed since, put together, and a row is encoded once for all readers.
"""
