"""Istio manifests from compiled routes. Pure: plain JSON values in, plain JSON values out.

Reading order:

    names             which host a word means, how objects and routes of ours are called
    reading           manifests of others              services         Services and workloads -> SPEC 5's `services`
    virtualservices   VirtualServices as they are      mesh             where destinations lead

    patterns          the routing key's grammar as regular expressions (RE2)
    matches           key -> conditions of an HTTPMatchRequest, and how they are added to the owner's
    routes            one owner's route, and what is made of it
    copies            what is added to an owner's list  rules           for each key: to its fork
                                                        fanin           for all keys: to the router
    delegates         an owner's list, whole            ownership       in which object copies stand
    ours              objects of ours                   findings        what could not be done
    manifests         documents -> the mesh
    render            all of it: the mesh and routes in, VirtualServices out
"""
