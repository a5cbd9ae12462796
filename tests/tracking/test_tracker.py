import csv
from contextlib import nullcontext

import numpy as np
from PIL import Image

from hdnet.tracking.tracker import FileTracker, Tracker, Trackers, opened


def rows(tracker):
    with tracker.curves.open() as file:
        return list(csv.DictReader(file))


def test_curves_panels_and_resume(tmp_path):
    tracker = FileTracker(tmp_path)
    for step in (1, 10, 20, 30):
        tracker.log_metrics({"loss": 1 / step, "normal_rad": 0.5}, step)
    tracker.log_image("labelled", np.zeros((4, 8, 3), np.uint8), 10)
    tracker.log_image("labelled", np.full((4, 8, 3), 9, np.uint8), 20)
    assert [row["step"] for row in rows(tracker)] == ["1", "10", "20", "30"]
    assert np.asarray(Image.open(tmp_path / "panels/labelled.png")).max() == 9

    tracker.resume(20)
    tracker.log_metrics({"loss": 0.1, "normal_rad": 0.2}, 30)
    assert [(row["step"], row["loss"]) for row in rows(tracker)][-2:] == [("20", "0.05"), ("30", "0.1")]

    tracker.resume(0)
    assert rows(tracker) == []


def test_a_training_that_is_not_validated_has_an_empty_file_for_dvc(tmp_path):
    tracker = FileTracker(tmp_path)
    tracker.resume(0)
    tracker.log_metrics({"loss": 1.0}, 1)
    assert (tmp_path / "validation.csv").read_bytes() == b""


def test_a_row_cut_off_by_a_crash_is_dropped(tmp_path):
    tracker = FileTracker(tmp_path)
    tracker.log_metrics({"loss": 1.0, "warp_m": 2.0}, 1)
    with tracker.curves.open("a") as file:
        file.write("2,0.")
    tracker.resume(5)
    assert [row["step"] for row in rows(tracker)] == ["1"]


def test_groups_have_files_of_their_own_and_new_columns_reach_back(tmp_path):
    tracker = FileTracker(tmp_path)
    tracker.log_metrics({"loss": 1.0}, 1)
    tracker.log_metrics({"validation/depth_mae_mm": 80.0}, 1)
    tracker.log_metrics({"loss": 0.5, "skipped_steps": 1.0}, 2)
    tracker.log_metrics({"validation/depth_mae_mm": 70.0}, 3)
    assert rows(tracker) == [
        {"step": "1", "loss": "1", "skipped_steps": ""},
        {"step": "2", "loss": "0.5", "skipped_steps": "1"},
    ]
    tracker.resume(2)
    assert (tmp_path / "validation.csv").read_text().split() == ["step,depth_mae_mm", "1,80"]
    assert len(rows(tracker)) == 2


def test_what_is_optional_is_passed_on_or_ignored(tmp_path):
    heard = []

    class Listening(Tracker):
        def log_dataset(self, name, digest, size, source=None, context="training"):
            heard.append((name, digest, size, source, context))

        def set_tags(self, tags):
            heard.append(tags)

    both = Trackers([FileTracker(tmp_path), Listening()])
    both.log_dataset("labelled", "f00", 280)
    both.set_tags({"precision": "bf16"})
    assert heard == [("labelled", "f00", 280, None, "training"), {"precision": "bf16"}]


def test_several_trackers_hear_the_same(tmp_path):
    a, b = FileTracker(tmp_path / "a"), FileTracker(tmp_path / "b")
    Trackers([a, b]).log_metrics({"loss": 1.0}, 1)
    assert rows(a) == rows(b) == [{"step": "1", "loss": "1"}]


def test_every_report_reaches_every_tracker_in_order():
    calls = []

    class Recording(Tracker):
        def __init__(self, name):
            self.name = name

    def recorded(method):
        return lambda self, *args, **kwargs: calls.append((self.name, method, args, kwargs))

    methods = [name for name in vars(Tracker) if not name.startswith("_")]
    for method in methods:
        setattr(Recording, method, recorded(method))
    both = Trackers([Recording("first"), Recording("second")])
    for method in methods:
        assert method in vars(Trackers)
        getattr(both, method)(method, step=3)
    assert calls == [(name, method, (method,), {"step": 3}) for method in methods for name in ("first", "second")]


def test_without_an_experiment_tracker_everything_is_ignored(tmp_path):
    with opened(None, "pack") as tracker:
        tracker.log_metrics({"loss": 1.0}, 1)
        tracker.log_checkpoint(tmp_path / "absent.safetensors", 1)


def test_an_opened_run_gets_stage_params_tags_and_folder(tmp_path):
    asked = []

    def open_run(*args):
        asked.append(args)
        return nullcontext(FileTracker(tmp_path))

    with opened(open_run, "pack", {"a": 1}, {"b": "c"}, tmp_path) as tracker:
        assert isinstance(tracker, FileTracker)
    with opened(open_run, "pack"):
        pass
    assert asked == [("pack", {"a": 1}, {"b": "c"}, tmp_path), ("pack", {}, {}, None)]
