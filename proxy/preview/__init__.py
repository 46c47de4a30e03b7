"""The preview gateway: a router's hosts for those who cannot set headers (SPEC 4). Pure; off the common path.

Reading order: `routing.previews` what a host names; `credentials` who is let in; `head` what a preview's request
becomes; `login` the form for browsers; `gateway` the steps in their order, as the exchange calls them.
"""
