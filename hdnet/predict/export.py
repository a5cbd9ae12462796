"""Models as files of other programs: ONNX and OpenVINO, compared with the original before they are kept."""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hdnet.errors import ModelError
from hdnet.models import HDNet, ModelIdentity
from hdnet.predict.runtimes import Difference, check_export
from hdnet.predict.runtimes.base import INPUT_NAME, OUTPUT_NAME
from hdnet.predict.runtimes.probes import probe_inputs

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml"}

_OPSET = 20
_INSTALL = "`pip install 'hdnet[export]'`"

Compute = Callable[[np.ndarray], np.ndarray]


def export_model(
    model: HDNet, identity: ModelIdentity | None, form: str, out: str | Path
) -> tuple[list[Path], Difference]:
    """Writes a model with an open batch dimension and compares it with PyTorch's on made-up people, 1 and 3 at once.

    The file takes what :meth:`hdnet.models.HDNet.forward` takes, (batch, 7, 256, 256) float32 named
    ``rgb_iuv_mask``, and gives (batch, 4, 256, 256) float32 named ``depth_m_normal_xyz``. The camera that the outputs
    are in, and the version of the registry, stand in its metadata as JSON under ``hdnet``.

    Args:
        model: Both networks.
        identity: Which registered model it is, if any.
        form: "onnx" or "openvino".
        out: File to write: ``.onnx``, or ``.xml``, beside which OpenVINO puts a ``.bin``.

    Returns:
        The files, and the largest difference that was found.

    Raises:
        ModelError: If the name does not fit the format, a package is missing, the file cannot be written, or what was
            exported does not reproduce the model; then there is no file.
    """
    path = Path(out)
    if form not in SUFFIXES:
        raise ModelError(f"format {form!r} is not known, expected one of {', '.join(SUFFIXES)}")
    if path.suffix != SUFFIXES[form]:
        raise ModelError(f"{path}: expected a name that ends in {SUFFIXES[form]} for {form}")
    write, read = (_write_onnx, _read_onnx) if form == "onnx" else (_write_openvino, _read_openvino)
    notes = json.dumps({"camera": model.camera.to_dict(), "model": identity and identity.to_dict()}, sort_keys=True)
    model = model.eval().float().cpu()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Beside its place, so that what failed the comparison was never there.
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}.") as folder:
            trial = Path(folder) / path.name
            write(model, trial, notes)
            worst = check_export(model, read(trial), str(path))
            return [written.replace(path.parent / written.name) for written in sorted(Path(folder).iterdir())], worst
    except ImportError as error:
        raise ModelError(f"export to {form} needs another package, {_INSTALL} ({error})") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be written ({error.strerror or error})") from error


def _write_onnx(model: HDNet, path: Path, notes: str) -> None:
    import onnx  # what the exporter needs: missing ones shall be named before the work
    import onnxscript  # noqa: F401

    example = torch.from_numpy(probe_inputs(2))
    for name in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.WARNING)  # or they tell hundreds of lines of each step
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's, of its own parts
        program: Any = torch.onnx.export(
            model,
            (example,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            opset_version=_OPSET,
            verbose=False,
        )
    proto: onnx.ModelProto = program.model_proto
    for one in (*proto.graph.node, *proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        one.ClearField("metadata_props")  # the exporter's notes, among them paths of this machine
    onnx.helper.set_model_props(proto, {"hdnet": notes})
    onnx.checker.check_model(proto)
    onnx.save(proto, path)


def _read_onnx(path: Path) -> Compute:
    import onnxruntime  # type: ignore[import-untyped]

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda inputs: session.run([OUTPUT_NAME], {INPUT_NAME: inputs})[0]


def _write_openvino(model: HDNet, path: Path, notes: str) -> None:
    import openvino  # type: ignore[import-untyped]

    from hdnet.predict.runtimes.openvino_graph import build_graph

    graph = build_graph(model)
    graph.set_rt_info(notes, "hdnet")
    openvino.save_model(graph, path, compress_to_fp16=False)


def _read_openvino(path: Path) -> Compute:
    from hdnet.predict.runtimes.openvino_core import core

    compiled = core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda inputs: compiled([inputs])[0]
