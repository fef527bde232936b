"""How the C library keeps memory for bodies of megabytes.

glibc gives every block over 128 KB pages of its own and hands them back at once, and trims the heap whenever its end is
free: each frame then faults in some 800 fresh pages, which costs more than what is done with them. With higher
thresholds freed blocks stay with the process and are taken again, so that its memory is that of its busiest moment. Few
arenas keep that moment small: each has freed blocks of its own, and threads take turns at them.
"""

import ctypes

_KEPT_BLOCK_BYTES = 32 * 1024**2  # the most that glibc takes
_KEPT_HEAP_BYTES = 256 * 1024**2
_ARENAS = 2

# malloc.h; other C libraries have no mallopt, or know none of these and say so by their result
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def keep_freed_memory() -> None:
    """To be called before any thread is started. Does nothing where the C library cannot be told."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_M_MMAP_THRESHOLD, _KEPT_BLOCK_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _KEPT_HEAP_BYTES)
    mallopt(_M_ARENA_MAX, _ARENAS)
