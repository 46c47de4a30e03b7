"""The feed: how a proxy gets its table from a controller, and reports what it did.

`messages` and `wire` (both sides) -> `coming` (parts read) -> `slice` (what of the table is this proxy's) -> `receiver`
(in force, and the answers) -> `link` (the connection),
with `statefile` (the last good slice on disk) and `traffic` (requests per key) beside it.
"""
