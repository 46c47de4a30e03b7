"""How the C library's heap treats the buffers of large bodies.

A read brings up to 250 KB as one object, freed as soon as it is written on. glibc gives memory of that size back to the
system with every free and takes it again with the next read: a page fault for each 4 KB, three times the CPU of the
whole transfer (measured: 1,100 us for 1 MiB, not 360). Whether it does depends on what happens to lie at the end of the
heap, so it comes and goes from start to start.
"""

from __future__ import annotations

from typing import Final

_M_TRIM_THRESHOLD: Final = -1  # malloc.h
_M_MMAP_THRESHOLD: Final = -3
# So much free memory stays ours; an idle proxy has freed nothing and keeps nothing.
_TRIM_BYTES: Final = 4 << 20
# Larger pieces are mapped one by one, as by default above 128 KB.
_MMAP_BYTES: Final = 1 << 20


def keep_buffers() -> None:
    """Keeps freed buffers for the next read. Other C libraries than glibc are left as they are."""
    import ctypes

    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)
        libc.mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
