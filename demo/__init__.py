"""A chain of real services behind sidecars, and what becomes of requests with and without a routing key.

Reading order: `topology` who calls whom, `services/` the services, `instrumented` how they are started, `processes`
starting and stopping, `sidecar` one proxy, `stack` all of it running, `hops` one request and who saw it, `scenario`
what is sent and what must come of it, `report` how it is told, `keep` what `--keep` leaves to try, `__main__` wiring.
"""
