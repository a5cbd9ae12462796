import csv

import numpy as np
from PIL import Image

from hdnet.training.tracking import FileTracker, Trackers


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
    assert not tracker.curves.exists()


def test_a_row_cut_off_by_a_crash_is_dropped(tmp_path):
    tracker = FileTracker(tmp_path)
    tracker.log_metrics({"loss": 1.0, "warp_m": 2.0}, 1)
    with tracker.curves.open("a") as file:
        file.write("2,0.")
    tracker.resume(5)
    assert [row["step"] for row in rows(tracker)] == ["1"]


def test_several_trackers_hear_the_same(tmp_path):
    a, b = FileTracker(tmp_path / "a"), FileTracker(tmp_path / "b")
    Trackers([a, b]).log_metrics({"loss": 1.0}, 1)
    assert rows(a) == rows(b) == [{"step": "1", "loss": "1"}]
