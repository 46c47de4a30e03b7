"""The `pointsman` command: hands over to the program that a command names. Everything is imported late, so that the
sidecar pays for nothing but itself."""
