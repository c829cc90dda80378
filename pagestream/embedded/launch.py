"""The first code of every embedded server's process: who it runs as, and that it dies with us.

Run as `python -I -S launch.py IDENTITY PARENT PROGRAM [ARGUMENT...]`; it imports nothing of ours.

1. Take the identity: `self` stays who it is; `nobody` gives root up; `namespace` becomes nobody
   inside a user namespace, while files stay those of the user outside.
2. Ask the kernel for SIGKILL when the thread that started us ends. This comes after step 1, which
   would undo it.
3. Look whether the parent went before the request was in place.
4. Become the program.
"""

import ctypes
import os
import pwd
import signal
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1


def nobody() -> int:
    """Return the id of the user `nobody`, who has a name wherever there are names."""
    return pwd.getpwnam("nobody").pw_uid


def become(identity: str, libc: ctypes.CDLL) -> None:
    """Take the identity; end the process when the system refuses it."""
    if identity == "nobody":
        os.setgroups([])
        os.setgid(nobody())
        os.setuid(nobody())
    if identity == "namespace":
        inner, user, group = nobody(), os.geteuid(), os.getegid()
        if libc.unshare(CLONE_NEWUSER) != 0:
            sys.exit(f"no user namespace: {os.strerror(ctypes.get_errno())}")
        own = Path("/proc/self")
        (own / "setgroups").write_text("deny")
        (own / "uid_map").write_text(f"{inner} {user} 1")
        (own / "gid_map").write_text(f"{inner} {group} 1")


def die_with(parent: int, libc: ctypes.CDLL) -> None:
    """Tie this process's life to that of its parent."""
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit(f"cannot die with the parent: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("the parent is gone")


if __name__ == "__main__":
    system = ctypes.CDLL(None, use_errno=True)
    become(sys.argv[1], system)
    die_with(int(sys.argv[2]), system)
    os.execv(sys.argv[3], sys.argv[3:])  # noqa: S606 - no shell is wanted here
