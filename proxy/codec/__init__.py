"""HTTP codecs: bytes in, events out, and back. No I/O, no event loop, no knowledge of routing."""
