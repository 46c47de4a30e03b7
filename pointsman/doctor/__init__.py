"""`pointsman doctor`: what is wrong with a running proxy or controller, with the machine before the start, or with the
way of a routing key through services; and what to do about it.

Read in this order: `facts` are what was seen; `gather_*` see it; `rules_*` are pure and make findings of facts;
`command` puts them together.
"""
