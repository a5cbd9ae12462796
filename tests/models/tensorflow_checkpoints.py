"""Checkpoints as the original saves them: narrow ones that TensorFlow writes on the spot, and two of the full width.

``data/tiled_*.tar.xz`` were written by TensorFlow's Saver with the original's names and shapes. Their values repeat, so
that 113 and 340 MB pack into 28 and 66 kB; the moving averages are not those of the activations, on purpose, and the
depth checkpoint carries Adam's moments, as after training. ``data/tiled_expected.npz`` holds what the original makes of
the picture in ``../parity/data/networks.npz``, computed in float64: 300 pixels, mean and standard deviation.
"""

import tarfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hdnet.models.tensorflow import SCOPES

DATA = Path(__file__).parent / "data"
PARITY_DATA = Path(__file__).parents[1] / "parity/data"
# Channels in and out of conv2 to conv17 in units of the width; conv1 and conv18 are those of input and output.
_CHANNELS = [
    (1, 1),
    (1, 1),
    (1, 2),
    (2, 4),
    (4, 8),
    (8, 16),
    (16, 16),
    (16, 8),
    (16, 8),
    (8, 4),
    (8, 4),
    (4, 2),
    (4, 2),
]
_CHANNELS += [(2, 1), (2, 1), (1, 1)]
_IN_OUT = {"normal": (3, 3), "depth": (9, 1)}

Variables = dict[str, np.ndarray]


def variables(kind: str, width: int = 2) -> Variables:
    """Everything that an inference checkpoint holds, with random values and a depth of about 4 m."""
    random = np.random.default_rng(len(kind))
    inputs, outputs = _IN_OUT[kind]
    channels = [(inputs, width), *((width * a, width * b) for a, b in _CHANNELS), (width, outputs)]
    values: Variables = {}
    for number, (before, after) in enumerate(channels, start=1):
        name, size = f"{SCOPES[kind]}/conv{number}", 1 if number == 18 else 3
        values[f"{name}/weights"] = random.normal(0, (2 / (size * size * before)) ** 0.5, (size, size, before, after))
        values[f"{name}/biases"] = random.normal(4.0 if number == 18 else 0.0, 0.1, after)
        if number < 18:
            values[f"{name}/beta"] = random.normal(0, 0.1, after)
            values[f"{name}/moving_mean"], values[f"{name}/moving_variance"] = np.full(after, 0.25), np.full(after, 2.0)
    return {name: value.astype(np.float32) for name, value in values.items()}


def write(prefix: Path, values: Variables, trained: bool = False) -> Path:
    """Saves the variables by TensorFlow 1's own means; ``trained`` adds the slots of its Adam."""
    import tensorflow.compat.v1 as tf

    with tf.Graph().as_default(), tf.Session() as session:
        made = [tf.get_variable(name, initializer=value, use_resource=False) for name, value in values.items()]
        if trained:
            learned = [variable for variable in made if "/moving_" not in variable.name]
            tf.train.AdamOptimizer().minimize(sum(tf.reduce_sum(variable) for variable in learned), var_list=learned)
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, str(prefix), write_meta_graph=False)
    return prefix


def unpack(kind: str, folder: Path) -> Path:
    """The folder of a checkpoint of the full width, unpacked below ``folder``."""
    with tarfile.open(DATA / f"tiled_{kind}_prediction.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    (checkpoint,) = (folder / f"tiled_{kind}_prediction").iterdir()
    return checkpoint


def picture(kind: str, dtype: torch.dtype) -> Tensor:
    """The input (1, channels, 256, 256) that the expected output belongs to."""
    with np.load(PARITY_DATA / "networks.npz") as figures:
        normals = figures["normals_times127"].astype(np.float32) / np.float32(127)
        channels = np.concatenate([figures["image"], normals, figures["densepose_vui"]], axis=-1, dtype=np.float32)
    return torch.from_numpy(channels).permute(2, 0, 1)[None, : _IN_OUT[kind][0]].to(dtype)
