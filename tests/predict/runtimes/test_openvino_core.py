"""OpenVINO in a process whose threads come and go."""

from __future__ import annotations

import subprocess
import sys

# The main thread compiles, another one lets go of all models, and then Python handles a signal.
SCRIPT = """
import os, signal, threading
import numpy as np
from openvino import Model, opset13 as op
from hdnet.predict.runtimes.openvino_cpu import core

value = op.parameter([1, 3], np.float32)
models = [core().compile_model(Model([op.relu(value)], [value]), "CPU")]
letting_go = threading.Thread(target=models.clear)
letting_go.start()
letting_go.join()
signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGUSR1)
print("alive")
"""


def test_signals_are_handled_after_another_thread_let_go_of_the_models() -> None:
    """With a ``Core`` of its own for every model the process died here."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\nalive\n"), done.stderr
