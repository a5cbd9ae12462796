"""Import of networks from checkpoints of the original's TensorFlow 1 program.

Only reading needs TensorFlow (extra ``import-tf``); the result is an ordinary model file.
A checkpoint holds one network under one variable scope (docs/parity.md, 4): ``SCOPE/conv1`` to ``SCOPE/conv17`` with
``weights``, ``biases``, ``beta``, and ``SCOPE/conv18`` without ``beta``. Its other variables do not influence the
network: the moving averages were never updated nor used (docs/parity.md, 1 and 2), Adam's moments serve its training.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hdnet.errors import ModelError, first_line
from hdnet.extras import install_command
from hdnet.files import sha256_of
from hdnet.geometry import Camera
from hdnet.models.hdnet import HDNet
from hdnet.models.hourglass import DepthEstimator, NormalEstimator
from hdnet.models.weights import save_estimator, save_hdnet

SCOPES = {"normal": "hourglass_normal_prediction", "depth": "hourglass_stack_fused_depth_prediction"}
STATE_FILE = "checkpoint"
_NETWORKS: dict[str, type[NormalEstimator | DepthEstimator]] = {"normal": NormalEstimator, "depth": DepthEstimator}
_SUFFIX = r"\.(?:index|meta|data-\d{5}-of-\d{5})$"
_CONVOLUTIONS = 18
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class ImportedEstimator:
    """A network and its origin.

    Attributes:
        model: The network, in evaluation mode.
        checkpoint: Path of the checkpoint, without the suffixes of its files.
        sha256: Of its data file.
        tensorflow: Version of TensorFlow that read it.
        taken: Number of variables of the network.
        ignored: Number of variables of each other kind.
    """

    model: NormalEstimator | DepthEstimator
    checkpoint: Path
    sha256: str
    tensorflow: str
    taken: int
    ignored: dict[str, int]

    @property
    def kind(self) -> str:
        """The network's role: "normal" or "depth"."""
        return self.model.role

    def report(self) -> dict[str, Any]:
        """Summarise the import, for JSON."""
        width = self.model.config.width
        return {"checkpoint": str(self.checkpoint), "width": width, "taken": self.taken, "ignored": self.ignored}

    def provenance(self) -> dict[str, str]:
        """Return this network's entries of the model file's header."""
        ignored = ", ".join(f"{count} {kind}" for kind, count in self.ignored.items())
        values = {"checkpoint": self.checkpoint.name, "sha256": self.sha256, "ignored": ignored or "nothing"}
        return {f"{self.kind}.{key}": value for key, value in values.items()}


def import_checkpoints(paths: Sequence[Path], out: Path) -> dict[str, Any]:
    """Write the networks of one or two checkpoints as a model file.

    The original's weights were trained in its own camera, so the reference camera goes into the file: as the complete
    model's, or as a note in the header of a network alone.

    Args:
        paths: One checkpoint makes a file with one network, a normal and a depth checkpoint in any order a complete
            model. Each as :func:`find_checkpoint` takes it.
        out: safetensors file to write; an existing one is replaced.

    Returns:
        A report for JSON: kind of the file, its path, and for each network checkpoint, width and numbers of variables.

    Raises:
        ModelError: As :func:`read_estimator`; other numbers of checkpoints; both of one kind; ``out`` not writable.
    """
    if len(paths) not in (1, 2):
        raise ModelError(f"found {len(paths)} checkpoints, expected one, or a normal and a depth checkpoint")
    imported = [read_estimator(path) for path in paths]
    by_kind = {one.kind: one for one in imported}
    if len(by_kind) < len(imported):
        names = " and ".join(str(one.checkpoint) for one in imported)
        raise ModelError(f"{names}: both hold a {imported[0].kind} network, expected a normal and a depth network")
    camera = Camera.reference()
    provenance = {
        "source": "TensorFlow 1 checkpoint of the original",
        "tensorflow": imported[0].tensorflow,
        "camera": json.dumps(camera.to_dict()),
    }
    for one in imported:
        provenance |= one.provenance()
    normal, depth = (by_kind[kind].model if kind in by_kind else None for kind in SCOPES)
    if isinstance(normal, NormalEstimator) and isinstance(depth, DepthEstimator):
        save_hdnet(out, HDNet(normal, depth, camera), provenance)
    else:
        save_estimator(out, imported[0].model, provenance)
    networks = {kind: by_kind[kind].report() for kind in SCOPES if kind in by_kind}
    return {"kind": "hdnet" if len(imported) == 2 else imported[0].kind, "out": str(out), "networks": networks}


def read_estimator(path: Path) -> ImportedEstimator:
    """Read the network of a checkpoint; its variable scope tells which of the two it is.

    All names, shapes and types are checked, and the values of the network. The width follows from the weights.
    Variables that the network does not need (moving averages, Adam's moments and powers of beta) may be absent, but
    but only all of a kind; their values are not read.

    Args:
        path: As :func:`find_checkpoint` takes it.

    Raises:
        ModelError: No checkpoint there, damaged, or not of the original; TensorFlow is not installed. Variables that
            are unknown, missing, of another shape or type, or not finite are named.
    """
    prefix = find_checkpoint(path)
    tensorflow = _import_tensorflow()
    reader, shapes = _open(tensorflow, prefix)
    kind = _kind(prefix, shapes)
    width = _width(prefix, f"{SCOPES[kind]}/conv1/weights", shapes)
    with torch.device("meta"):
        empty = _NETWORKS[kind](width).state_dict()
    ours = _our_names(SCOPES[kind])
    taken = {name: _tensorflow_shape(empty[ours[name]]) for name in ours}
    ignored = {label: group for label, group in _ignorable(taken).items() if not group.keys().isdisjoint(shapes)}
    expected = taken.copy()
    for group in ignored.values():
        expected |= group
    _check(prefix, f"a {kind} network of width {width}", shapes, reader.get_variable_to_dtype_map(), expected)
    data_file = _data_file(prefix, 4 * sum(math.prod(shape) for shape in expected.values()))

    model = _NETWORKS[kind](width).eval()
    model.load_state_dict({ours[name]: _tensor(reader, prefix, name) for name in ours})
    counts = {label: len(group) for label, group in ignored.items()}
    return ImportedEstimator(model, prefix, sha256_of(data_file), tensorflow.__version__, len(taken), counts)


def find_checkpoint(path: Path) -> Path:
    """The checkpoint that a user means, as the path that all of its files begin with.

    Args:
        path: That path itself (``model.ckpt``), one of the files (``model.ckpt.index``), or a folder with the state
            file that TensorFlow writes, or with exactly one checkpoint.

    Raises:
        ModelError: There is no checkpoint, or more than one to choose from.
    """
    path = Path(path)
    prefix = Path(re.sub(_SUFFIX, "", str(path)))
    if Path(f"{prefix}.index").is_file():
        return prefix
    if path.is_dir():
        return _in_folder(path)
    raise ModelError(
        f"{path}: no TensorFlow checkpoint there, {prefix}.index is missing; expected the path that the files of a "
        f"checkpoint begin with, such as model.ckpt, or their folder"
    )


def _in_folder(folder: Path) -> Path:
    names = sorted(file.name.removesuffix(".index") for file in folder.glob("*.index"))
    state = folder / STATE_FILE
    if state.is_file():
        found = re.search(r'^model_checkpoint_path: "(.+)"', state.read_text(errors="replace"), re.MULTILINE)
        # A path on the machine that trained; only its last part is valid here.
        name = Path(found[1]).name if found else None
        if name not in names:
            raise ModelError(
                f"{state}: names the checkpoint {name!r}, in the folder are {names}; name the checkpoint itself"
            )
        return folder / str(name)
    if len(names) != 1:
        raise ModelError(
            f"{folder}: holds {len(names)} checkpoints {names}, expected one; name the checkpoint itself, "
            f"such as {folder / 'model.ckpt'}"
        )
    return folder / names[0]


def _import_tensorflow() -> Any:
    before = {name: os.environ.get(name) for name in _QUIET}
    os.environ.update(_QUIET)
    try:
        import tensorflow
    except ImportError as error:
        raise ModelError(
            f"reading a TensorFlow checkpoint needs TensorFlow ({error}); run `{install_command('import-tf')}`"
        ) from error
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    return tensorflow


def _open(tensorflow: Any, prefix: Path) -> tuple[Any, dict[str, Shape]]:
    """Return TensorFlow's reader, and the shapes of all variables by name."""
    if special := sorted(set("*?[\\") & set(str(prefix))):
        raise ModelError(f"{prefix}: TensorFlow takes {' '.join(special)} in a path for a pattern; rename the folder")
    try:
        reader = tensorflow.train.load_checkpoint(str(prefix))
        shapes = {name: tuple(shape) for name, shape in reader.get_variable_to_shape_map().items()}
    except Exception as error:
        raise ModelError(
            f"{prefix}.index: TensorFlow cannot read this as a checkpoint ({first_line(error)})"
        ) from error
    return reader, shapes


def _kind(prefix: Path, names: Iterable[str]) -> str:
    names = sorted(names)
    found = [kind for kind, scope in SCOPES.items() if any(name.startswith(f"{scope}/") for name in names)]
    scopes = " or ".join(SCOPES.values())
    if not found:
        raise ModelError(
            f"{prefix}: not a checkpoint of the original; expected variables of {scopes}, found {_some(names)}"
        )
    if len(found) > 1:
        raise ModelError(f"{prefix}: holds variables of both networks, expected one scope only, {scopes}")
    return found[0]


def _width(prefix: Path, name: str, shapes: dict[str, Shape]) -> int:
    if name not in shapes:
        raise ModelError(f"{prefix}: variable {name} is missing")
    shape = shapes[name]
    if len(shape) != 4 or not shape[3]:
        raise ModelError(f"{prefix}: variable {name} has shape {shape}, expected (3, 3, channels, width)")
    return shape[3]


def _our_names(scope: str) -> dict[str, str]:
    """Return our name of every weight, bias and shift of a network by TensorFlow's."""
    names = {}
    for number in range(1, _CONVOLUTIONS + 1):
        last = number == _CONVOLUTIONS
        convolution = "head" if last else f"blocks.{number - 1}.conv"
        names[f"{scope}/conv{number}/weights"] = f"{convolution}.weight"
        names[f"{scope}/conv{number}/biases"] = f"{convolution}.bias"
        if not last:
            names[f"{scope}/conv{number}/beta"] = f"blocks.{number - 1}.shift"
    return names


def _ignorable(taken: dict[str, Shape]) -> dict[str, dict[str, Shape]]:
    """Return the shapes of variables that may stand beside the network's, by kind and name."""
    normed = {name.removesuffix("beta"): shape for name, shape in taken.items() if name.endswith("/beta")}
    groups = {leaf: {f"{scope}{leaf}": s for scope, s in normed.items()} for leaf in ("moving_mean", "moving_variance")}
    groups |= {slot: {f"{name}/{slot}": shape for name, shape in taken.items()} for slot in ("Adam", "Adam_1")}
    return groups | {name: {name: ()} for name in ("beta1_power", "beta2_power")}


def _tensorflow_shape(tensor: Tensor) -> Shape:
    """Turn (out, in, height, width) into (height, width, in, out); vectors stay."""
    return tuple(tensor.permute(2, 3, 1, 0).shape if tensor.ndim == 4 else tensor.shape)


def _check(
    prefix: Path, network: str, shapes: dict[str, Shape], types: dict[str, Any], expected: dict[str, Shape]
) -> None:
    shared = sorted(expected.keys() & shapes.keys())
    problems = {
        "missing": sorted(expected.keys() - shapes.keys()),
        "unknown": sorted(shapes.keys() - expected.keys()),
        "of another shape": [f"{n} {shapes[n]} instead of {expected[n]}" for n in shared if shapes[n] != expected[n]],
        "of another type": [f"{n} {types[n].name} instead of float32" for n in shared if types[n].name != "float32"],
    }
    if found := "; ".join(f"{what}: {_some(names)}" for what, names in problems.items() if names):
        raise ModelError(f"{prefix}: its variables are not those of {network}; {found}")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _data_file(prefix: Path, expected_bytes: int) -> Path:
    file = Path(f"{prefix}.data-00000-of-00001")
    if not file.is_file():
        raise ModelError(f"{file}: is missing; it belongs beside {prefix.name}.index")
    if (found_bytes := file.stat().st_size) < expected_bytes:
        raise ModelError(f"{file}: has {found_bytes} bytes, expected {expected_bytes} by its index; copy it again")
    return file


def _tensor(reader: Any, prefix: Path, name: str) -> Tensor:
    try:
        array: np.ndarray = reader.get_tensor(name)  # TensorFlow checks the checksum
    except Exception as error:
        raise ModelError(f"{prefix}: variable {name} cannot be read ({first_line(error)}); copy it again") from error
    if not np.isfinite(array).all():
        raise ModelError(f"{prefix}: variable {name} holds values that are not finite; that training had failed")
    return torch.from_numpy(array.transpose(3, 2, 0, 1).copy() if array.ndim == 4 else array)
