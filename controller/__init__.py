"""The controller: sandboxes and route groups in, routing table out.

Reading order is data order. The core:

    objects           Sandbox, RouteGroup and their parts, and their documents      times   timestamps and durations
    schema            a document to an object, every fault named by its path        reader  how documents are read
    match             which sandboxes a route group matches
    allow             where a `local` target may be
    changes           what one object changes, without regard to others
    memory            which keys and routes live, and which are gone within the hour
    compile           objects -> routing table, status of each object, next memory
    keystate          one key's part of the table                                   status  what is said of one object
    istio/            compiled routes -> Istio's VirtualServices

All of these are pure: no clock, no file, no loop; time is passed in. They may import `proxy.routing` and nothing else
of `proxy`, which never imports us.

    store             what a store must do: list, get, put, delete, watch            watching  its readers
    dirstore          the store that is a folder of YAML files                      identity  what it adds to objects
    following         which files have changed and stand still                      folderwatch  inotify
    objectfile        what stands in a file, in its last good form                  documents  files cut and mended
    journal           what must outlive us                                          atomic  files written whole or not

    engine            runs the compiler over a store: changes come into force, whole and in order
    feed/             the proxies: each is told what concerns it, and answers
    writing           changes by the rules that hold whoever asks                   quotas  how many objects
    lifecycle         the end of objects: TTL, drain                                audit   a line for each change
    live/             what is shown while it happens: rows, and what changed of them since a reader looked
    rest/             the API, and the page
    access            tokens and roles                                              tls     the listener's certificate
    reloading         files that are read again                                     state   the state folder
    config            flags                                                         listening, background
"""
