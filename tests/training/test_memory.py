import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys, torch
from hdnet.training.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    torch.ones(16, 1024, 1024)
before = faults()
for _ in range(10):
    torch.ones(16, 1024, 1024)
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_memory_is_reused_where_it_was_cleared_anew():
    """64 MB a tensor; in a process of its own, since it stays so."""
    faults = {
        how: int(subprocess.run([sys.executable, "-c", SCRIPT, how], check=True, capture_output=True, text=True).stdout)
        for how in ("keep", "as it is")
    }
    assert faults["keep"] < 100 < faults["as it is"]
