"""Istio manifests from compiled routes. Pure: plain JSON values in, plain JSON values out.

patterns     the routing key's grammar as regular expressions (RE2)
matches      key -> conditions of an HTTPMatchRequest, and how they are added to the owner's
"""
