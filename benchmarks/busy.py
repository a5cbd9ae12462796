"""Measures how much slower a command is beside busy processes. Markdown table.

    python benchmarks/busy.py python benchmarks/train.py --stage depth --width 16 --no-plain
    python benchmarks/busy.py --most 3 --niceness 10 hdnet predict photographs --out result

A busy process counts in one thread, at --niceness. The command has to end well every time; its output is not shown. Its
start counts as well: take one that runs for half a minute. Speed is that of the first row, 1, over its time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

import psutil
from inference import print_head, print_row

from hdnet.errors import HDNetError, run_command

_COUNT = "while True: pass"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=2, help="busy processes of the last row; the first has none")
    parser.add_argument("--niceness", type=int, default=0, help="theirs")
    parser.add_argument("--repeats", type=int, default=1, help="turns; the best time counts")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what is measured")
    arguments = parser.parse_args()
    if not arguments.command:
        parser.error("a command is missing")
    best: dict[int, float] = {}
    for _ in range(arguments.repeats):
        for count in range(arguments.most + 1):
            best[count] = min(best.get(count, float("inf")), seconds(arguments.command, count, arguments.niceness))
    print(f"{' '.join(arguments.command)}: {os.cpu_count()} cores, load of others {psutil.getloadavg()[0]:.1f}")
    print_head("busy processes", "seconds", "speed")
    for count, taken_s in best.items():
        print_row(count, f"{taken_s:.1f}", f"{best[0] / taken_s:.2f}")


def seconds(command: list[str], busy: int, niceness: int = 0) -> float:
    """Time of a command beside busy processes.

    Raises:
        HDNetError: The command cannot be run, or fails.
    """
    counting = [sys.executable, "-c", f"import os; os.nice({niceness})\n{_COUNT}"]
    others = [subprocess.Popen(counting) for _ in range(busy)]
    try:
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True)
        taken_s = time.perf_counter() - began
    except OSError as error:
        raise HDNetError(f"{command[0]}: {error}") from error
    finally:
        for other in others:
            other.kill()
            other.wait()
    if done.returncode:
        raise HDNetError(f"{' '.join(command)}: status {done.returncode}; {done.stderr.strip()[-500:]}")
    return taken_s


if __name__ == "__main__":
    run_command(main)
