import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, torch
from hdnet.training.memory import keep_freed_memory
assert keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step():
    return [torch.ones(4, 1024, 1024) for _ in range(6)]
for _ in range(10):
    step()
before = faults()
for _ in range(10):
    step()
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_memory_is_reused_where_it_was_cleared_anew():
    """Six tensors of 16 MB a step, 24,576 pages; in a process of its own, since it stays so."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 10 * 24_576 / 100
