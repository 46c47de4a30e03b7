"""`pointsman sandbox|routegroup|proxies|explain|completion`: what people and agents say to a controller, and `istio`.

Reading order:

    commands     the table of all commands: words, arguments, options, who runs it; help and completion follow from it
    command      one row of it: how a command line is read, what its help says
    flags        the options, one row each
    exits        exit codes, and which failure ends with which
    console      stdout for results, stderr for people; progress while waiting
    run          from the command line to the exit code

    manifests    files with objects, read and checked before anything is sent
    apply        sandbox apply, routegroup apply          changed      what a change changed, as lines
    receipts     waits until an object is live            objects      where an object is in the API, what is in it
    read         list, get, delete, wait                  tables       columns for people
    traffic      traffic, verify, proxies                 explain      explain by the controller
    istio        Istio's manifests from files             meshfiles  what stands in those
    completion   completion scripts for shells

A module that runs a command is imported when that command is given.
"""
