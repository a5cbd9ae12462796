"""Commands of "Your own dance videos" in docs/data.md, word for word, on synthetic dances."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from checkouts import ROOT, Checkout
from PIL import Image

from hdnet.data.layout.folders import TikTokFolder
from hdnet.params.overlay import demo_params
from hdnet.pictures.reading import iuv_to_png_rgb
from hdnet.synthetic import SyntheticSpec, generate_sequences

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

FRAMES = 3


def code_blocks(section: str) -> list[str]:
    text = (ROOT / "docs/data.md").read_text()
    (body,) = re.findall(rf"^## {section}\n(.*?)(?=^## )", text, re.MULTILINE | re.DOTALL)
    return re.findall(r"^```\n(.*?)^```$", body, re.MULTILINE | re.DOTALL)


def write_dances(folder: Path, names: list[str]) -> None:
    """Frames larger than the people in them, as a camera takes them."""
    room = ((30, 60), (20, 50))
    for index, frame in enumerate(
        generate_sequences(SyntheticSpec(people=0, sequences=len(names), frames_per_sequence=FRAMES, seed=11))
    ):
        dance = folder / names[index // FRAMES]
        pictures = {
            "images": np.pad(frame.image, (*room, (0, 0)), mode="edge"),
            "masks": np.pad(frame.mask, room).astype(np.uint8) * 255,
            "densepose": np.pad(iuv_to_png_rgb(frame.iuv), (*room, (0, 0))),
        }
        for kind, pixels in pictures.items():
            (dance / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(dance / kind / f"{index % FRAMES + 1:04d}.png")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, migrated_mlflow_database: Path) -> Checkout:
    made = Checkout.of_the_code(tmp_path_factory.mktemp("clone"))
    made.git("add", "--all")
    made.git("commit", "-q", "-m", "hdnet")
    shutil.copy(migrated_mlflow_database, made.folder / "mlflow.db")
    write_dances(made.folder / "my_dances", ["tango", "waltz"])
    return made


def test_the_first_try_leads_from_frames_to_an_evaluated_model(clone):
    said = clone.succeed("bash", "-euo", "pipefail", "-c", code_blocks("Your own dance videos")[0])

    raw = TikTokFolder(clone.folder / "data/raw/tiktok_data")
    assert {name: len(frames) for name, frames in raw.sequences().items()} == {"tango": FRAMES, "waltz": FRAMES}
    metrics = json.loads((clone.folder / "reports/evaluate/metrics.json").read_text())
    assert metrics["model/depth_mae_mm"] > 0
    assert f"{metrics['model/depth_mae_mm']:.1f}" in said
    pairs = json.loads((clone.folder / "reports/correspond/metrics.json").read_text())
    assert pairs["pairs_accepted"] > 0
    assert (clone.folder / "reports/register/version.json").is_file()
    assert (clone.folder / "result/mesh.obj").is_file()
    committed = clone.git("show", "--stat=200", "--name-only", "--format=").split()
    assert committed == ["dvc.lock", "own.yaml", "own_data/dances.dvc", "params.yaml"]
    assert clone.ran(clone.dvc("repro", "--dry")) == ["check_registry"]


def test_the_real_run_keeps_the_dances_and_trains_for_longer(clone):
    block = code_blocks("Your own dance videos")[1].replace("dvc repro", "dvc repro --dry")
    done = clone.run("bash", "-euo", "pipefail", "-c", block)
    assert done.returncode == 0, done.stderr
    assert "train_hdnet" in clone.ran(done)
    shown = clone.succeed("hdnet", "params", "show")
    assert "folder: own_data/dances" in shown
    assert yaml.safe_load(shown)["train_hdnet"]["steps"] == demo_params().train_hdnet.steps


def test_a_dance_that_is_added_later_is_seen(clone):
    write_dances(clone.folder / "more", ["foxtrot"])
    dance = clone.folder / "more/foxtrot"
    clone.succeed(
        *("hdnet", "data", "import-frames", "--out", "own_data/dances"),
        *("--images", str(dance / "images"), "--masks", str(dance / "masks"), "--densepose", str(dance / "densepose")),
    )
    assert "acquire" in clone.ran(clone.dvc("repro", "--dry"))


def test_the_readmes_lines_lead_from_a_video_alone_to_an_evaluated_model(
    tmp_path: Path, migrated_mlflow_database: Path
):
    av = pytest.importorskip("av")
    (block,) = re.findall(
        r"^```\n(hdnet data import-frames --images waltz\.mp4 --out .*?)^```$",
        (ROOT / "README.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    assert len(block.splitlines()) == 3
    made = Checkout.of_the_code(tmp_path / "clone")
    shutil.copy(migrated_mlflow_database, made.folder / "mlflow.db")
    frames = generate_sequences(SyntheticSpec(people=0, sequences=1, frames_per_sequence=FRAMES, seed=11))
    room = ((30, 60), (20, 50), (0, 0))
    with av.open(str(made.folder / "waltz.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 256 + 20 + 50, 256 + 30 + 60, "yuv420p"
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.pad(frame.image, room, mode="edge"), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    made.succeed("bash", "-euo", "pipefail", "-c", block)
    folder = TikTokFolder(made.folder / "data/raw/tiktok_data")
    assert {name: len(members) for name, members in folder.sequences().items()} == {"waltz": FRAMES}
    assert set(folder.predicted()) == set(folder.names())
    assert json.loads((made.folder / "reports/evaluate/metrics.json").read_text())["model/depth_mae_mm"] > 0
