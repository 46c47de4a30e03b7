"""asyncio: the listener, the two sides of a connection, the pool. Implements what `proxy.exchange` asks for."""
