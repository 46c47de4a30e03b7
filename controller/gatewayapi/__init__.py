"""Gateway API manifests for a mesh (GAMMA: routes whose parent is a Service). Pure: plain JSON values in and out.

objects      what is there: HTTPRoutes and GRPCRoutes of owners and ours, Services
precedence   which of several matches a request meets first
rules        copies of an owner's rule under more conditions, inside the API's limits
attachments  which routes stand together at a Service's port, and where that can't be
keyed        rules for each sandbox
fanin        a constant rule that leads to a router, and the way back
render       all of it: routes and what exists -> routes as they should be, and findings
"""
