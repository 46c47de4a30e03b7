"""What header routing costs: the sidecar beside known proxies, with the same routes and the same load, in one run.

Reading order: `quick` or `tune` says what is measured -> `scene` starts origins -> `targets` starts what is tested ->
`rounds` measures each in turn, by `wrk` or by our own `load` -> `figures` makes medians -> `report` prints and writes.
"""
