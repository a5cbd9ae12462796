"""Export of models to ONNX and OpenVINO files, each compared with PyTorch before it is kept."""

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
from hdnet.extras import install_command
from hdnet.models import HDNet, ModelIdentity, PersonModel
from hdnet.models.weights import load_hdnet, save_halved, save_mean
from hdnet.predict.runtime_names import (
    INPUT_NAME,
    OUTPUT_NAME,
    PERSON_INPUT_NAME,
    PERSON_OUTPUT_NAMES,
    Outputs,
)
from hdnet.predict.runtimes import MAX_DEPTH_MM, MAX_NORMAL_DEG, Difference, check_export
from hdnet.predict.runtimes.agreement import probes_for
from hdnet.predict.runtimes.pytorch import TorchRuntime

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml"}

_OPSET = 20

Compute = Callable[[np.ndarray], Outputs]


def export_model(
    model: HDNet | PersonModel, identity: ModelIdentity | None, form: str, out: str | Path
) -> tuple[list[Path], Difference]:
    """Write a model for any batch size, and compare it with PyTorch's on batches of 1 and 3 made-up people.

    Of two hourglasses, the file maps (batch, 7, 256, 256) float32 named ``rgb_iuv_mask``, as
    :meth:`hdnet.models.HDNet.forward` takes it, to (batch, 4, 256, 256) float32 named ``depth_m_normal_xyz``. Of a
    model for photographs, it maps (batch, 4, 256, 256) named ``rgb_hint``, as :meth:`hdnet.models.PersonModel.forward`
    takes it, to the maps of :class:`hdnet.models.lite.PersonMaps`, named as there. Its
    metadata holds the camera of the outputs and the registered version as JSON under ``hdnet``.

    Args:
        model: The networks.
        identity: Identity of a registered model.
        form: "onnx" or "openvino".
        out: File to write: ``.onnx``, or ``.xml``, beside which OpenVINO puts a ``.bin``.

    Returns:
        The files, and the largest difference.

    Raises:
        ModelError: If the name does not fit the format, a package is missing, the file cannot be written, or the
            export does not reproduce the model; then no file is left.
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
        # Beside its place: a file that fails the comparison never appears there.
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}.") as folder:
            trial = Path(folder) / path.name
            write(model, trial, notes)
            worst = check_export(model, read(trial), str(path))
            return [written.replace(path.parent / written.name) for written in sorted(Path(folder).iterdir())], worst
    except ImportError as error:
        raise ModelError(f"export to {form} needs another package, `{install_command('export')}` ({error})") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be written ({error.strerror or error})") from error


def export_halved(source: Path, out: Path, mean_with: Path | None = None) -> Difference:
    """Write a model file once more with weights in half precision, and compare the two as :func:`export_model` does.

    Rounded weights may differ by as much as a runtime that is chosen for its speed, 2 mm and 1 degree.

    Args:
        source: Model file of a complete model.
        out: File to write, ``.safetensors``.
        mean_with: Model file of the same network: write the mean of the two, see
            :func:`hdnet.models.weights.save_mean`.

    Raises:
        ModelError: If the name does not end so, a file is not a complete model, the networks differ, the file cannot
            be written, or its results differ; then no file is left.
    """
    if out.suffix != ".safetensors":
        raise ModelError(f"{out}: expected a name that ends in .safetensors")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.stem}.") as folder:
        trial, mean = Path(folder) / out.name, Path(folder) / "mean.safetensors"
        if mean_with is not None:
            save_mean(mean, source, mean_with)
            source = mean
        save_halved(trial, source)
        most = Difference(MAX_DEPTH_MM, MAX_NORMAL_DEG)
        worst = check_export(load_hdnet(source), TorchRuntime(load_hdnet(trial)), str(out), most)
        trial.replace(out)
    return worst


def _write_onnx(model: HDNet | PersonModel, path: Path, notes: str) -> None:
    import onnx  # optional packages of the exporter: a missing one is named before the work
    import onnxscript  # noqa: F401

    example = torch.from_numpy(probes_for(model, 2, seed=0).inputs_bchw)
    is_person = isinstance(model, PersonModel)
    for name in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they log hundreds of lines
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        program: Any = torch.onnx.export(
            model,
            (example,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            input_names=[PERSON_INPUT_NAME if is_person else INPUT_NAME],
            output_names=list(PERSON_OUTPUT_NAMES) if is_person else [OUTPUT_NAME],
            opset_version=_OPSET,
            verbose=False,
        )
    proto: onnx.ModelProto = program.model_proto
    for one in (*proto.graph.node, *proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        one.ClearField("metadata_props")  # the exporter's notes, with paths of this machine
    onnx.helper.set_model_props(proto, {"hdnet": notes})
    onnx.checker.check_model(proto)
    onnx.save(proto, path)


def _read_onnx(path: Path) -> Compute:
    import onnxruntime  # type: ignore[import-untyped]  # an optional package

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda inputs: _one_or_all(session.run(None, {name: inputs}))


def _write_openvino(model: HDNet | PersonModel, path: Path, notes: str) -> None:
    import openvino  # type: ignore[import-untyped]  # an optional package, as for the next import

    from hdnet.predict.runtimes.openvino_cpu import graph_of

    graph = graph_of(model, batch=-1)
    graph.set_rt_info(notes, "hdnet")
    openvino.save_model(graph, path, compress_to_fp16=False)


def _read_openvino(path: Path) -> Compute:
    from hdnet.predict.runtimes.openvino_cpu import core  # an optional package

    compiled = core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda inputs: _one_or_all(list(compiled([inputs]).to_tuple()))


def _one_or_all(outputs: list[np.ndarray]) -> Outputs:
    return outputs[0] if len(outputs) == 1 else tuple(outputs)
