"""Memory that was freed: with one arena, however many threads have used it."""

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

THREADS = 6
PROGRAM = f"""
import ctypes, sys, threading
from runtime.memory import share_one_arena

def use():
    held = bytes(100_000)
    everybody.wait()

if sys.argv[1] == "shared":
    share_one_arena()
everybody = threading.Barrier({THREADS})
threads = [threading.Thread(target=use) for _ in range({THREADS})]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
c = ctypes.CDLL(None)
c.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(c.fopen(sys.argv[2].encode(), b"w"))
c.malloc_info(0, file)
c.fclose(file)
"""

pytestmark = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "malloc_info"), reason="only glibc tells of its arenas"
)


@pytest.mark.parametrize(("sharing", "arenas"), [("shared", 1), ("apart", THREADS + 1)])
def test_threads_share_one_arena(tmp_path: Path, sharing: str, arenas: int) -> None:
    report = tmp_path / "malloc.xml"
    subprocess.run([sys.executable, "-c", PROGRAM, sharing, str(report)], check=True)
    assert report.read_text().count("<heap nr=") == arenas
