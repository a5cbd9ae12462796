"""Sends damaged pictures through the service's decoders, in local processes, and prints Markdown tables.

    python benchmarks/fuzz_decoders.py                        # 20,000 cases
    python benchmarks/fuzz_decoders.py --first 4711 --cases 1 --save FOLDER   # one case again, with its files

Valid PNG, JPEG, WebP, GIF and BMP of many kinds are damaged by seeded random numbers and go through `decode_parts` and
through POST /depth of a service with a made-up model. Exits with status 1 if anything but 200 and 4xx comes of a case,
if it takes too long or too much memory, or if it kills the process.
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from fuzz_worker import Answer, Cases, work

_START_S = 120.0  # for imports and the service's start
_SHOWN = 20


@dataclass
class Tally:
    """Outcomes of all cases.

    Attributes:
        answers: Cases by entry, status and code.
        failures: One line for each failed case.
        slowest_s: Seconds of the slowest case.
        slowest: Its number and name.
        base_mb: The process' memory before the first case.
        peak_mb: Its largest memory.
        cases: Number of finished cases.
    """

    answers: Counter[tuple[str, int, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest: str = ""
    base_mb: float = 0.0
    peak_mb: float = 0.0
    cases: int = 0

    def add(self, number: int, name: str, answers: list[Answer], seconds: float) -> None:
        """Add a finished case."""
        self.cases += 1
        for answer in answers:
            self.answers[answer.entry, answer.status, answer.code] += 1
            if not (answer.status == 200 or 400 <= answer.status < 500):
                found = f"{answer.entry} gives {answer.status} {answer.code} {answer.detail}"
                self.failures.append(f"case {number} ({name}): {found}")
        if seconds > self.slowest_s:
            self.slowest_s, self.slowest = seconds, f"{number} ({name})"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Damaged pictures through the service's decoders.")
    parser.add_argument("--cases", type=int, default=20_000, help="how many (default: 20000)")
    parser.add_argument("--first", type=int, default=0, help="number of the first case (default: 0)")
    parser.add_argument("--seed", type=int, default=0, help="of the damage (default: 0)")
    parser.add_argument("--case-s", type=float, default=10.0, help="seconds that a case may take (default: 10)")
    parser.add_argument("--memory-mb", type=int, default=1000, help="megabytes that cases may add (default: 1000)")
    parser.add_argument("--save", type=Path, help="folder for the files of the cases, at most a hundred")
    arguments = parser.parse_args()
    if arguments.save is not None:
        save(arguments)
    started = time.perf_counter()
    tally = fuzz(arguments)
    report(tally, time.perf_counter() - started)
    sys.exit(1 if tally.failures else 0)


def fuzz(arguments: argparse.Namespace) -> Tally:
    """Run all cases in a child process, and in a new one whenever it died."""
    tally = Tally()
    number, end = arguments.first, arguments.first + arguments.cases
    while number < end:
        number = _run_child(arguments, number, end, tally)
    return tally


def _run_child(arguments: argparse.Namespace, first: int, end: int, tally: Tally) -> int:
    """Run cases until the child dies or is done; return the number of the next one."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=work, args=(there, arguments.seed, first, end, arguments.memory_mb), daemon=True)
    child.start()
    there.close()
    number, begun = first, False
    try:
        while here.poll(arguments.case_s if begun else _START_S):
            message = here.recv()
            if message is None:
                return end
            if isinstance(message, int):
                number, begun = message, True
                continue
            name, answers, peak_mb, seconds = message
            tally.add(number, name, answers, seconds)
            _note_memory(tally, number, name, peak_mb, arguments.memory_mb)
        tally.failures.append(f"case {number}: no end within {arguments.case_s:g} s")
    except EOFError:
        child.join()
        tally.failures.append(f"case {number}: {_death(child.exitcode)}")
    finally:
        child.kill()
        child.join()
    if not begun:
        sys.exit("error: the process that decodes does not start; run it with --cases 1 to see why")
    return number + 1


def _note_memory(tally: Tally, number: int, name: str, peak_mb: float, limit_mb: int) -> None:
    """Compare with the memory after the very first case, which holds what every request needs."""
    tally.base_mb = tally.base_mb or peak_mb
    before, tally.peak_mb = tally.peak_mb, max(tally.peak_mb, peak_mb)
    if before - tally.base_mb <= limit_mb < tally.peak_mb - tally.base_mb:
        tally.failures.append(f"case {number} ({name}): memory grows by {tally.peak_mb - tally.base_mb:.0f} MB")


def _death(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        return f"the process died of {signal.Signals(-exitcode).name}"
    return f"the process ended with status {exitcode}"


def save(arguments: argparse.Namespace) -> None:
    """Write the files of the cases into a folder."""
    cases = Cases(arguments.seed)
    for number in range(arguments.first, arguments.first + min(arguments.cases, 100)):
        folder = arguments.save / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        for part, data in cases.make(number).files.items():
            (folder / part).write_bytes(data)


def report(tally: Tally, seconds: float) -> None:
    """The tables."""
    codes = sorted({(status, code) for _, status, code in tally.answers})
    print("| status | code | decode_parts | POST /depth |\n|---:|---|---:|---:|")
    for status, code in codes:
        counts = (tally.answers[entry, status, code] for entry in ("decode_parts", "POST /depth"))
        print(f"| {status} | {code} | {' | '.join(map(str, counts))} |")
    print(f"\n{tally.cases} cases in {seconds:.0f} s; slowest {tally.slowest_s:.2f} s, case {tally.slowest}; memory")
    print(f"{tally.base_mb:.0f} MB after the first case, {tally.peak_mb:.0f} MB at most.")
    print(f"{len(tally.failures)} failures" + (":" if tally.failures else "."))
    for line in tally.failures[:_SHOWN]:
        print(f"- {line}")


if __name__ == "__main__":
    main()
