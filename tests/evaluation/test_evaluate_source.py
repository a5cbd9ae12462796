"""Any model on any folder: raw or packed, without IUV, without normals; and the verb `evaluate`."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from hdnet.cli import main
from hdnet.data.layout.folders import TangFolder
from hdnet.data.layout.samples import LabelledSample
from hdnet.data.store.packed import pack_tang
from hdnet.data.store.people import Piece, join_pieces
from hdnet.data.store.person_record import PersonPicture
from hdnet.errors import DataError, ModelError
from hdnet.evaluation import DEPTH_METRICS, DETAIL_METRICS, METRICS, EvaluationResult, evaluate_source
from hdnet.geometry import Camera
from hdnet.models import DepthEstimator, HDNet, LiteEstimator, NormalEstimator, PersonModel
from hdnet.models.weights import save_hdnet

SIZE = 32
CAMERA = Camera.centred(60, SIZE)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("model") / "hdnet.safetensors"
    save_hdnet(file, HDNet(NormalEstimator(2), DepthEstimator(2, initial_depth_m=4.0), CAMERA), {})
    return file


def person(number):
    """A bumpy block in front of the camera."""
    chance = np.random.default_rng(number)
    mask = np.zeros((SIZE, SIZE), bool)
    mask[4:28, 10:22] = True
    normals = np.dstack([chance.uniform(-0.5, 0.5, (2, SIZE, SIZE)).transpose(1, 2, 0), -np.ones((SIZE, SIZE))])
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    image = chance.integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
    iuv = np.where(mask[..., None], chance.integers(1, 24, (SIZE, SIZE, 3)), 0).astype(np.uint8)
    return LabelledSample(
        f"{number:07d}", image, np.where(mask[..., None], image, np.uint8(255)), iuv, mask,
        np.where(mask, chance.uniform(2, 3, (SIZE, SIZE)), 0).astype(np.float32),
        np.where(mask[..., None], normals, 0).astype(np.float32), CAMERA,
    )  # fmt: skip


@pytest.fixture
def people(tmp_path):
    folder = TangFolder(tmp_path / "mine/Tang_data")
    samples = [person(number) for number in range(4)]
    for sample in samples:
        folder.write(sample)
    folder.write_meta({sample.name: CAMERA for sample in samples})
    return folder.root


def test_pictures_without_anybody_are_left_out(tmp_path):
    torch.manual_seed(0)
    save_hdnet(tmp_path / "model.safetensors", PersonModel(LiteEstimator(), CAMERA), {})
    samples = [person(k) for k in range(3)]
    samples[1] = replace(
        samples[1], **{key: np.zeros_like(getattr(samples[1], key)) for key in ("mask", "depth_m", "normals", "iuv")}
    )
    empty = np.zeros((SIZE, SIZE, 3), np.float32)
    pictures = [
        PersonPicture(one, k, 2.5 * one.mask.any(), one.mask * np.uint8(255), empty) for k, one in enumerate(samples)
    ]
    results = []
    for name, shown in (("with", pictures), ("without", pictures[::2])):
        folder, notes = tmp_path / name, tmp_path / f"{name}.notes"
        folder.mkdir()
        notes.mkdir()
        pieces = [Piece.written(folder / f"{one.person}.bin", [one]) for one in shown]
        join_pieces(folder, notes, pieces, 9)
        results.append(evaluate_source(str(tmp_path / "model.safetensors"), folder))
    assert len(results[0].rows) == 2
    assert results[0].rows == results[1].rows
    assert (results[0].notes, results[1].notes) == (("Pictures without anybody are left out: 1.",), ())


def test_raw_and_packed_people_are_the_same(people, model_file, tmp_path):
    pack_tang(people, tmp_path / "packed")

    packed = evaluate_source(str(model_file), tmp_path / "packed")
    raw = evaluate_source(model_file.parent, people)

    assert raw == packed == evaluate_source(model_file, people.parent)
    assert raw.names == ("0000000", "0000001", "0000002", "0000003")
    assert raw.notes == ()
    assert set(raw.summary["model"]) == {*METRICS, *DETAIL_METRICS}
    assert "part_torso" in raw.breakdown


def test_the_digest_tells_other_data_apart(people, model_file):
    before = evaluate_source(model_file, people).data_sha256
    text = people / "depth/0000002.txt"
    values = np.loadtxt(text, delimiter=",")
    values[10, 15] += 0.001
    np.savetxt(text, values, delimiter=",", fmt="%.5f")

    after = evaluate_source(model_file, people).data_sha256

    assert len(before) == len(after) == 64
    assert before != after


def test_without_normals_there_is_nothing_about_normals(people, model_file, tmp_path):
    complete = evaluate_source(model_file, people)
    shutil.rmtree(people / "normal")

    found = evaluate_source(model_file, people)

    assert set(found.summary["model"]) == set(DEPTH_METRICS)
    assert found.methods == ("model", "flat_plane", "inflated_silhouette")
    assert found.values("depth_mae_mm").tolist() == complete.values("depth_mae_mm").tolist()
    assert not any(group.startswith("view") for group in found.breakdown)
    assert "normal_mean_deg" not in found.breakdown["part_torso"]
    assert len(found.notes) == 1
    assert "no true normals" in found.notes[0]
    with pytest.raises(DataError, match="model has no metric normal_mean_deg"):
        found.values("normal_mean_deg")
    assert EvaluationResult.from_json(found.to_json()) == found
    _evaluate_verb(model_file, people, tmp_path / "out")
    table = (tmp_path / "out/table.md").read_text()
    assert "no true normals" in table
    assert "normals mean" not in table.splitlines()[0]


def test_without_iuv_the_model_gets_zeros(people, model_file):
    shutil.rmtree(people / "densepose")

    found = evaluate_source(model_file, people)

    assert "was given IUV of zeros" in found.notes[0]
    assert set(found.breakdown) <= {"view_00_30", "view_30_60", "view_60_90"}
    assert set(found.summary["model"]) == {*METRICS, *DETAIL_METRICS}


def test_one_missing_file_is_an_error_not_a_gap(people, model_file):
    (people / "normal/0000001_2.txt").unlink()

    with pytest.raises(DataError, match=r"0000001_2\.txt"):
        evaluate_source(model_file, people)


def test_wrong_sources_are_named(people, model_file, tmp_path):
    with pytest.raises(DataError, match="color_WO_bg: folder is missing"):
        evaluate_source(model_file, tmp_path)
    with pytest.raises(ModelError, match=r"nowhere.safetensors: no such model file"):
        evaluate_source(tmp_path / "nowhere.safetensors", people)


def _evaluate_verb(model_file, data, out):
    main(["evaluate", "--model", str(model_file), "--data", str(data), "--out", str(out), "--no-mlflow"])


def test_the_verb_writes_all_files_and_prints_the_table(people, model_file, tmp_path, capsys):
    out = tmp_path / "new/out"

    _evaluate_verb(model_file, people, out)

    assert sorted(file.name for file in out.iterdir()) == [
        "confidence", "contact_sheet.png", "errors.csv", "metrics.json", "samples.json", "table.md",
    ]  # fmt: skip
    result = EvaluationResult.from_json((out / "samples.json").read_text())
    assert json.loads((out / "metrics.json").read_text()) == result.metrics()
    assert (out / "table.md").read_text() in capsys.readouterr().out
    assert (out / "table.md").read_text().startswith(result.to_markdown())


def test_results_of_another_model_do_not_go_where_the_stages_are(people, model_file, tmp_path):
    with pytest.raises(SystemExit, match=r"need --out, a folder for the results"):
        main(["evaluate", "--model", str(model_file), "--no-mlflow", "--root", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"--out belongs to --model"):
        main(["evaluate", "--out", str(tmp_path / "x"), "--no-mlflow", "--root", str(tmp_path)])
