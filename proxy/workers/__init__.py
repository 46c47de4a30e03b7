"""`--workers N`: N processes that serve, and a supervisor that serves nothing and watches over them.

    supervisor    binds the sockets, starts the workers, has the admin pages, hears the signals
        |  \\
        |   one socket pair for each worker: words both ways (`channel`, `words`); its end is the other one's end
        |
    worker        an ordinary proxy (`proxy.__main__`), which was handed its sockets and has no admin address
        |
    board         a few pages of memory that all share: who has how many connections, and which are their own

Why it is made so:

- **Sockets are bound once and inherited** (as nginx and gunicorn do), so all workers accept from the same queue. Who
  dies takes along what it had accepted, never what waits. With SO_REUSEPORT each worker would have a queue of its own:
  the kernel resets what waits there when it is closed (nginx therefore keeps them open in its master, and its
  `src/core/ngx_connection.c` closes none while testing a configuration), what was hashed to one that hangs waits for
  as long as it hangs, and a second proxy on the same port would not be told that the address is in use.
- **Whose turn it is** (`board.Turns`): with one queue the worker that waited last is woken first, and takes nearly all
  ("Why does one NGINX worker take all the load?", Cloudflare, 2017); few connections that live long, gRPC's, would all
  be with one. So who has more connections than the others steps back for 5 ms; what nobody else took by then it takes
  all the same. Connections are accepted one at a time (25 us more for each than by uvloop's server).
- **Workers are started anew, not forked** from a process that has everything in memory: no lock, no loop, no thread is
  inherited in an unknown state, and a replacement is what the first one was. It takes 0.15 s.
- **Pages are answered by the supervisor**, which does nothing else: whatever the workers do, it can say what it is.
  Counters and histograms are summed, and what a dead worker had counted stays in the sum. What is a worker's own to
  say (`/table`, `/explain`) is asked of one, and passed on piece by piece as fast as it is read.
- **The table is each worker's own matter.** A file: each watches it, so they change within the same 100 ms; a start
  with a bad file ends with the first worker (exit code 2), before there are others. A controller: **each has a
  connection of its own**, and is a proxy of its own there (`name/1`, `name/2`). One connection for all would need the
  supervisor to hold the table for those that are replaced, to put acknowledgements together, and to keep counts of
  requests until they are told, so that none is lost or told twice: all of which each connection has already. And a
  receipt means more: it counts every process that can answer. The controller has N times as many connections; it is
  measured with 1,000. State files are apart too; who has none begins with the newest of the others'.
- **A worker that dies** (`policy`) is replaced at once; again within ten seconds, after a while that doubles. After 5
  deaths in 60 s (and more than one for each worker: one event that takes them all is no repetition) it is better that
  whoever started us sees it: the others are drained, exit code 1. (HAProxy's master ends at the first death, nginx and
  gunicorn never end.) One that can't be started *again* for what its files say (exit code 2) is tried for ever, every
  10 s at last, while the others go on with what they have.
- **A worker that is silent** for 5 s is said to be so (stderr, `/readyz`, metrics), left out when turns are taken, and
  not killed, as gunicorn and uvicorn do: a stopped or starved process comes back and finishes what it has, and one that
  never does is for the operator to look at. The others serve whoever comes.
- **Signals are the supervisor's.** Workers do not react to SIGTERM and SIGINT, which a terminal or systemd sends to all
  of them at once: it is told over the socket pair. **Its death** is told by the end of that: workers drain and leave at
  once, so nobody is left behind, and the ports are free.
- **Led back to itself**: a connection that one worker made and another accepts is found on the board
  (`board.Siblings`).
"""
