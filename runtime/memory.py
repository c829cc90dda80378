"""What a process keeps of the memory that it has freed."""

import ctypes
from typing import Final

_M_ARENA_MAX: Final = -8


def share_one_arena() -> None:
    """Let all threads begun from now on take their memory from one place, where the C library can.

    glibc gives threads an arena each, up to eight a core, and keeps in every one of them as much as
    was ever used there at once. Threads that take turns at responses of several MB so come to hold
    many times what is in use. One arena is enough where Python's own lock lets one thread in at a
    time. Other C libraries have no arenas, and are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
