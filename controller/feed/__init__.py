"""The feed: what each proxy must know, told to it, and what it says of that. The WebSocket is `controller.rest.feed`.

    book          the table by keys, its recent changes, and both as messages for the proxies of one workload. Pure
    subscription  one proxy: what it has, what is under way to it, what it refused. Pure
    hub           all of them: positions, who is there, who is lost, how far a key has got
    traffic       who answered requests, by key, workload and time. Pure
    progress      what a receipt says    roll    which proxies were attached, over a restart

The messages themselves are `proxy.feed.messages`, and how they are written `proxy.feed.wire`.
"""
