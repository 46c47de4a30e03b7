"""The chain that the demo sends requests through: five small services of a ride-hailing company.

    frontend        FastAPI, httpx
      driver        Flask, gRPC's client
        location    gRPC, requests      sandboxes fork this one
          route     Flask               and this one
      pricing       Flask

None of them knows of routing keys: no code here forwards a header, or picks an address by one. Baggage and tracestate
travel because `opentelemetry-instrument` starts each service and patches the frameworks from outside.

A service finds the next one by the variable `<NAME>_URL`. Its work is one function, and only the lines round it know
the protocol, so a service can change to another one without the rest.
"""
