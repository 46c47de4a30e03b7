"""A queue whose consumers have a sandbox: NATS with JetStream, and `pointsman.routes.RoutesClient`.

consumer    the part to read: takes its own messages only      messages   what is on the queue, and with which headers
broker      nats-server as a process                           stack      everything running
scenario    what is sent, and who must take it                 __main__   runs it and tells
"""
