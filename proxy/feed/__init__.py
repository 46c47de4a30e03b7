"""The feed: how a proxy gets its table from a controller, and reports what it did.

`messages` and `wire` (both sides) -> `slice` (snapshot and changes -> table) -> `link` (the connection),
with `statefile` (the last good slice on disk) and `traffic` (requests per key) beside it.
"""
