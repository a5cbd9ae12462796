"""Videos as files into ``tiktok_data``: look at all frames, plan each sequence, cut and write the frames.

Everything goes through the temporary folder of :mod:`hdnet.data.importing.staging`, so an import appears complete or
not at all and an interrupted one goes on. Memory does not grow with the number of pictures: a frame is in memory while
it is worked on, what it looks like until its sequence is planned.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from hdnet.data.importing.frame_files import FrameFiles
from hdnet.data.importing.frames import Cut, FrameOptions, Survey, cut_frame, survey_frame
from hdnet.data.importing.report import REPORT_FILE, ImportReport, Outcome
from hdnet.data.importing.sequences import SequenceFiles, SequencePlan, looked_at, plan_sequence
from hdnet.data.importing.staging import TIKTOK, StagedImport, staged_import
from hdnet.data.layout.folders import TikTokFolder
from hdnet.data.layout.meta import META_FILE
from hdnet.data.parallel import ordered_map
from hdnet.errors import DataError
from hdnet.files import read_json_object, sha256_of
from hdnet.geometry import Camera

_PLAN_FILE = "plan.jsonl"


@dataclass(frozen=True)
class SequenceSource:
    """What is imported.

    Attributes:
        kind: Which importer, a few words.
        source: What the user called it by.
        names: Of the sequences that ``find`` will give.
        find: Gives the sequences; it may put files of its own (frames of a video) into the folder given to it.
        identity: What tells whether the source and the way it is read are still the same; JSON-able.
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
    """Imports videos into ``OUT/tiktok_data``.

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
    text = json.dumps(settings, sort_keys=True, default=str)
    fingerprint = hashlib.sha256(text.encode()).hexdigest()
    done = _report_of(out, fingerprint)
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
            _write_meta(staged, cuts, earlier)
        else:
            staged.keep = False  # the report refuses
        extra = dict(source.extra) | {
            "camera": options.intrinsics.describe(),
            "sequences": _summaries(plans, cuts),
        }
        if earlier.sequences:
            extra["added to"] = earlier.records
        return staged.report(source.source, extra | {"settings sha256": fingerprint})


def write_frame(folder: Path, keep_largest: bool, task: tuple[FrameFiles, Cut]) -> Outcome:
    """Cuts one frame and writes its pictures into the TikTok folder ``folder``."""
    files, cut = task
    frame, notes = cut_frame(files, cut, keep_largest)
    TikTokFolder(folder).write(frame)
    return Outcome(files.source, cut.name, None, notes)


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
    """One plan a sequence; kept in the temporary folder, so that an interrupted import need not look again."""
    file = staged.scratch / _PLAN_FILE
    plans: dict[str, SequencePlan] = {}
    if file.exists():
        text = file.read_text(encoding="utf-8")
        # A killed run can leave half a line at the end.
        whole = text[: text.rfind("\n") + 1]
        file.write_text(whole, encoding="utf-8")
        plans = {plan.name: plan for plan in (SequencePlan.from_dict(json.loads(s)) for s in whole.splitlines())}
    todo = [sequence for sequence in sequences if sequence.name not in plans]
    tasks = []
    for sequence in todo:
        looked = looked_at(len(sequence.frames))
        tasks += [(frame, i in looked) for i, frame in enumerate(sequence.frames)]
    surveys = ordered_map(partial(_survey, options), tasks, jobs, progress, "look at frames")
    with file.open("a", encoding="utf-8") as stream:
        for sequence in todo:
            plan = plan_sequence(sequence, list(islice(surveys, len(sequence.frames))), options, max_gap)
            stream.write(json.dumps(plan.to_dict()) + "\n")
            stream.flush()
            staged.keep = True
            plans[sequence.name] = plan
    for _ in surveys:  # lets the bar end
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
    """Writes the frames; every frame listed, refused or not, has a number, so that names do not depend on refusals."""
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


def _write_meta(staged: StagedImport, cuts: Mapping[str, Cut], earlier: _Earlier) -> None:
    cameras, sequences = dict(earlier.cameras), {name: list(names) for name, names in earlier.sequences.items()}
    for cut in cuts.values():
        if cut.shot in earlier.sequences:
            raise DataError(f"sequence {cut.shot} is there already; import under another name")
        sequences.setdefault(cut.shot, []).append(cut.name)
        cameras[cut.name] = cut.camera
    TikTokFolder(staged.folder / TIKTOK).write_meta(cameras, sequences)


def _summaries(plans: Sequence[SequencePlan], cuts: Mapping[str, Cut]) -> list[str]:
    """A line a sequence."""
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
    """What ``OUT/tiktok_data`` holds already."""

    folder: Path | None = None
    names: Sequence[str] = ()
    cameras: Mapping[str, Camera] = field(default_factory=dict)
    sequences: Mapping[str, Sequence[str]] = field(default_factory=dict)
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
        return cls(folder, names, {name: tiktok.camera(name) for name in names}, sequences, records)

    @property
    def next_number(self) -> int:
        return max((int(name) for name in self.names), default=-1) + 1

    @property
    def identity(self) -> dict[str, Any]:
        """What tells whether it is still the same."""
        if self.folder is None:
            return {}
        meta = self.folder / META_FILE
        return {"frames": len(self.names), "last": self.names[-1], "meta": sha256_of(meta) if meta.exists() else None}

    def link_into(self, target: Path) -> None:
        """Makes all files appear in ``target``, by hard links where the file system has them."""
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


def _report_of(out: Path, fingerprint: str) -> ImportReport | None:
    """The report of this very import, where it was the last one into ``out``."""
    if not (out / REPORT_FILE).exists() or not (out / TIKTOK).is_dir():
        return None
    content = read_json_object(out / REPORT_FILE)
    if content.get("extra", {}).get("settings sha256") != fingerprint:
        return None
    outcomes = [Outcome.from_dict(outcome) for outcome in content["refused"] + content["taken"]]
    return ImportReport(content["kind"], content["source"], content["out"], outcomes, content["extra"])
