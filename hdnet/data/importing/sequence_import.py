"""Import of videos into ``tiktok_data``: frames are surveyed, sequences planned, windows cut and written.

Everything goes through the temporary folder of :mod:`hdnet.data.importing.staging`, so that an import appears complete
or not at all and an interrupted one is resumed. Memory does not grow with the number of pictures: a frame is in memory
while it is worked on, its survey until its sequence is planned.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from hdnet.data.checks.shift import ShiftCheck
from hdnet.data.importing.frame_files import FrameFiles
from hdnet.data.importing.frames import Cut, FrameOptions, Survey, cut_frame, survey_frame
from hdnet.data.importing.report import REPORT_FILE, ImportReport, Outcome
from hdnet.data.importing.sequences import SequenceFiles, SequencePlan, order_samples, plan_sequence
from hdnet.data.importing.staging import StagedImport, staged_import
from hdnet.data.layout.folders import TIKTOK, TikTokFolder
from hdnet.data.layout.meta import META_FILE, PredictedMaps
from hdnet.data.parallel import ordered_map
from hdnet.errors import DataError
from hdnet.files import complete_lines, fingerprint, read_json_object, sha256_of
from hdnet.geometry import Camera

_PLAN_FILE = "plan.jsonl"


@dataclass(frozen=True)
class SequenceSource:
    """Source of an import.

    Attributes:
        kind: Name of the importer, a few words.
        source: Name that the user gave.
        names: Of the sequences that ``find`` will give.
        find: Gives the sequences; it may put files of its own (frames of a video) into the folder given to it.
        identity: State of the source and the way it is read; JSON-able.
        extra: Facts for the report.
    """

    kind: str
    source: str
    names: Sequence[str]
    find: Callable[[Path], list[SequenceFiles]]
    identity: Mapping[str, Any]
    extra: Mapping[str, Any] = field(default_factory=dict)


def import_sequences(
    source: SequenceSource,
    out: Path,
    options: FrameOptions,
    max_gap: int = 0,
    replace: bool = False,
    jobs: int = 1,
    progress: bool = False,
) -> ImportReport:
    """Import videos into ``OUT/tiktok_data``.

    Sequences that an earlier import put there stay, unless ``replace``: their files are linked, not copied, and ``out``
    changes in one step at the end. The same import again changes nothing and gives its report.

    Args:
        source: The videos.
        out: Raw folder.
        options: How frames are read and cut.
        max_gap: Missing frame numbers inside a shot.
        replace: Leave out what ``OUT/tiktok_data`` holds.
        jobs: Processes.
        progress: Show progress bars on stderr.

    Raises:
        DataError: Nothing can be imported, a sequence of that name is there already, or a folder or the disk refuses.
    """
    settings = {"source": source.identity, "options": asdict(options), "max_gap": max_gap, "replace": replace}
    settings_sha256 = fingerprint(settings)
    done = _report_of(out, settings_sha256)
    if done:
        return done
    earlier = _Earlier.read(out) if not replace else _Earlier()
    _check_names(source, earlier)
    with staged_import(out, source.kind, settings | {"earlier": earlier.identity}, [TIKTOK]) as staged:
        staged.scratch.mkdir(exist_ok=True)
        sequences = source.find(staged.scratch)
        earlier.link_into(staged.folder / TIKTOK)
        plans = _plan(staged, sequences, options, max_gap, jobs, progress)
        cuts = _cut(staged, sequences, plans, options, earlier.next_number, jobs, progress)
        if cuts:
            made = {frame.source: frame.predicted for sequence in sequences for frame in sequence.frames}
            _write_meta(staged, cuts, earlier, made)
        else:
            staged.keep = False  # the report refuses
        extra = dict(source.extra) | {
            "camera": options.intrinsics.describe(),
            "sequences": _summaries(plans, cuts),
        }
        if earlier.sequences:
            extra["added to"] = earlier.records
        return staged.report(source.source, extra | {"settings sha256": settings_sha256})


def write_frame(folder: Path, keep_largest: bool, task: tuple[FrameFiles, Cut]) -> Outcome:
    """Cut one frame and write its pictures into the TikTok folder ``folder``."""
    files, cut = task
    frame, notes = cut_frame(files, cut, keep_largest)
    TikTokFolder(folder).write(frame)
    made = [f"{kind} predicted" for kind in files.predicted.kinds] if files.predicted else []
    return Outcome(files.source, cut.name, None, (*notes, *made))


def _survey(options: FrameOptions, task: tuple[FrameFiles, bool]) -> Survey:
    return survey_frame(task[0], options, task[1])


def _plan(
    staged: StagedImport,
    sequences: Sequence[SequenceFiles],
    options: FrameOptions,
    max_gap: int,
    jobs: int,
    progress: bool,
) -> list[SequencePlan]:
    """Return one plan a sequence; plans are kept in the temporary folder for a resumed import."""
    file = staged.scratch / _PLAN_FILE
    plans = {plan.name: plan for plan in map(SequencePlan.from_dict, map(json.loads, complete_lines(file)))}
    todo = [sequence for sequence in sequences if sequence.name not in plans]
    tasks = []
    for sequence in todo:
        sampled = order_samples(len(sequence.frames))
        tasks += [(frame, i in sampled) for i, frame in enumerate(sequence.frames)]
    surveys = ordered_map(partial(_survey, options), tasks, jobs, progress, "look at frames")
    with file.open("a", encoding="utf-8") as stream:
        for sequence in todo:
            check, kept = ShiftCheck(), []
            for survey in islice(surveys, len(sequence.frames)):
                check.add(survey.trace)
                kept.append(replace(survey, trace=None))
            plan = plan_sequence(sequence, kept, options, max_gap, check.shifts())
            stream.write(json.dumps(plan.to_dict()) + "\n")
            stream.flush()
            staged.keep = True
            plans[sequence.name] = plan
    for _ in surveys:  # completes the progress bar
        pass
    return [plans[sequence.name] for sequence in sequences]


def _cut(
    staged: StagedImport,
    sequences: Sequence[SequenceFiles],
    plans: Sequence[SequencePlan],
    options: FrameOptions,
    first: int,
    jobs: int,
    progress: bool,
) -> dict[str, Cut]:
    """Write the frames. Refused frames count in the numbering, so that names do not depend on refusals."""
    tasks: dict[str, tuple[FrameFiles, Cut]] = {}
    for sequence, plan in zip(sequences, plans, strict=True):
        for i, reason in plan.refused.items():
            staged.record(Outcome(sequence.frames[i].source, None, reason))
        for frame in plan.frames:
            files = sequence.frames[frame.index]
            tasks[files.source] = (files, frame.cut(f"{first + frame.index:07d}", plan.name, plan.order, options))
        first += len(sequence.frames)
    staged.work(partial(write_frame, staged.folder / TIKTOK, options.keep_largest), tasks, jobs, progress, "cut frames")
    return {source: cut for source, (_, cut) in tasks.items() if source in staged.finished}


def _write_meta(
    staged: StagedImport, cuts: Mapping[str, Cut], earlier: _Earlier, made: Mapping[str, PredictedMaps | None]
) -> None:
    predicted = dict(earlier.predicted)
    cameras, sequences = dict(earlier.cameras), {name: list(names) for name, names in earlier.sequences.items()}
    for source, cut in cuts.items():
        maps = made[source]
        if maps is not None:
            predicted[cut.name] = maps
        if cut.shot in earlier.sequences:
            raise DataError(f"sequence {cut.shot} is there already; import under another name")
        sequences.setdefault(cut.shot, []).append(cut.name)
        cameras[cut.name] = cut.camera
    TikTokFolder(staged.folder / TIKTOK).write_meta(cameras, sequences, predicted)


def _summaries(plans: Sequence[SequencePlan], cuts: Mapping[str, Cut]) -> list[str]:
    """Return a line a sequence."""
    taken: dict[str, int] = {}
    for cut in cuts.values():
        taken[cut.shot] = taken.get(cut.shot, 0) + 1
    lines = []
    for plan in plans:
        shots = list(dict.fromkeys(frame.shot for frame in plan.frames))
        count = sum(taken.get(shot, 0) for shot in shots)
        remarks = "".join(f"; {remark}" for remark in plan.remarks)
        lines.append(f"{plan.name}: {count} of {len(plan.frames) + len(plan.refused)} frames{remarks}")
    return lines


def _check_names(source: SequenceSource, earlier: _Earlier) -> None:
    names = list(source.names)
    twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    if twice:
        raise DataError(f"{source.source}: holds two sequences named {min(twice)}; rename one folder")
    for name in names:
        pattern = re.compile(re.escape(name) + r"(-\d+)?")
        present = next((shot for shot in earlier.sequences if pattern.fullmatch(shot)), None)
        if present:
            raise DataError(
                f"{source.source}: a sequence {present} is in {earlier.folder} already; import it under another name, "
                "into another folder, or pass --replace to drop what is there"
            )


@dataclass(frozen=True)
class _Earlier:
    """Present content of ``OUT/tiktok_data``."""

    folder: Path | None = None
    names: Sequence[str] = ()
    cameras: Mapping[str, Camera] = field(default_factory=dict)
    sequences: Mapping[str, Sequence[str]] = field(default_factory=dict)
    predicted: Mapping[str, PredictedMaps] = field(default_factory=dict)
    records: Sequence[str] = ()

    @classmethod
    def read(cls, out: Path) -> _Earlier:
        folder = out / TIKTOK
        if not folder.is_dir():
            return cls()
        tiktok = TikTokFolder(folder)
        sequences = tiktok.sequences()
        names = tiktok.names()
        records = []
        if (out / REPORT_FILE).exists():
            report = read_json_object(out / REPORT_FILE)
            before = report.get("extra", {}).get("added to", [])
            described = [
                f"{record.get('kind')} {record.get('source')}: {record.get('counts', {}).get('taken')} frames"
                for record in (report, *report.get("earlier", []))
                if TIKTOK in record.get("parts", [])
            ]
            records = [*before, *described]
        cameras = {name: tiktok.camera(name) for name in names}
        return cls(folder, names, cameras, sequences, tiktok.predicted(), records)

    @property
    def next_number(self) -> int:
        return max((int(name) for name in self.names), default=-1) + 1

    @property
    def identity(self) -> dict[str, Any]:
        """Return what identifies its state."""
        if self.folder is None:
            return {}
        meta = self.folder / META_FILE
        return {"frames": len(self.names), "last": self.names[-1], "meta": sha256_of(meta) if meta.exists() else None}

    def link_into(self, target: Path) -> None:
        """Link all files into ``target``, or copy them where the file system has no hard links."""
        if self.folder is None:
            return
        for folder, _, files in os.walk(self.folder):
            place = target / Path(folder).relative_to(self.folder)
            place.mkdir(parents=True, exist_ok=True)
            for name in files:
                if name != META_FILE and not (place / name).exists():
                    _link(Path(folder, name), place / name)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _report_of(out: Path, settings_sha256: str) -> ImportReport | None:
    """Return the report of the same import, if it was the last one into ``out``."""
    if not (out / REPORT_FILE).exists() or not (out / TIKTOK).is_dir():
        return None
    content = read_json_object(out / REPORT_FILE)
    if content.get("extra", {}).get("settings sha256") != settings_sha256:
        return None
    outcomes = [Outcome.from_dict(outcome) for outcome in content["refused"] + content["taken"]]
    return ImportReport(content["kind"], content["source"], content["out"], outcomes, content["extra"])
