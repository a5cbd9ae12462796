"""Model files: safetensors with everything needed to rebuild the model in their header.

No pickle anywhere: a model file cannot run code. The header's one entry ``hdnet`` is JSON:
format version, kind ("normal", "depth", "person", or "hdnet", the complete model of either sort), name and
configuration of each network, camera, provenance.
A network alone may carry its optimiser's moments, tensors whose names begin with ``moments.``; only a training that
continues with them reads those.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, overload

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hdnet.errors import ModelError
from hdnet.files import atomic_write, sha256_of
from hdnet.geometry import Camera
from hdnet.models.hdnet import HDNet
from hdnet.models.hourglass import DepthEstimator, Hourglass, NormalEstimator
from hdnet.models.lite import LiteEstimator, PersonModel

FORMAT_VERSION = 1
HDNET_FILE = "hdnet.safetensors"
_MOMENTS = "moments."
Estimator = Hourglass | LiteEstimator
# Networks that a model file can hold, by name and role; a new network is added here.
_CLASSES: tuple[type[Estimator], ...] = (NormalEstimator, DepthEstimator, LiteEstimator)
NETWORKS: dict[tuple[str, str], type[Estimator]] = {(network.network, network.role): network for network in _CLASSES}
_MODELS: dict[type[nn.Module], str] = {
    HDNet: "the two hourglasses (model.network: hourglass)",
    PersonModel: "the network for photographs (model.network: lite)",
}
# The network of files that name none, written before there was a choice.
_UNNAMED_NETWORK = "hourglass"

EstimatorT = TypeVar("EstimatorT", bound=Estimator)
CompleteT = TypeVar("CompleteT", HDNet, PersonModel)
ModuleT = TypeVar("ModuleT", bound=nn.Module)


def save_estimator(
    path: Path,
    model: Estimator,
    provenance: dict[str, str],
    moments: Mapping[str, Tensor] | None = None,
) -> None:
    """Write one network, atomically: a reader sees the old file or the new one, never half.

    Args:
        path: File to write.
        model: The network.
        provenance: Its origin, for the header.
        moments: Its optimiser's, by name; see :func:`load_moments`.
    """
    state = model.state_dict() | {f"{_MOMENTS}{name}": tensor for name, tensor in (moments or {}).items()}
    _save(path, state, {"kind": model.role, "networks": {model.role: _described(model)}}, provenance)


def load_estimator(path: Path, kind: type[EstimatorT]) -> EstimatorT:
    """Read one network of the given class, in evaluation mode, on the CPU; also out of a complete model.

    Raises:
        ModelError: If the file is missing, damaged, of another kind, or its weights do not fit its configuration.
    """
    header = read_header(path)
    if kind.role not in header["networks"]:
        raise ModelError(f"{path}: holds a {header['kind']!r} model, expected {kind.role!r}")
    prefix = _prefix(header, kind.role)
    state = {name.removeprefix(prefix): tensor for name, tensor in load_file(path).items() if name.startswith(prefix)}
    return _fill(_build(header["networks"][kind.role], kind, path), state, path)


def load_moments(path: Path) -> dict[str, Tensor]:
    """Read the optimiser's moments from a network's file, by name.

    Raises:
        ModelError: If there is no such file, or no moments in it.
    """
    read_header(path)
    moments = {name.removeprefix(_MOMENTS): t for name, t in load_file(path).items() if name.startswith(_MOMENTS)}
    if not moments:
        raise ModelError(f"{path}: carries no moments of its optimiser; train it with `keep_moments: true`")
    return moments


def save_hdnet(path: Path, model: HDNet | PersonModel, provenance: dict[str, str]) -> None:
    """Write the complete model, atomically."""
    members: tuple[Estimator, ...]
    if isinstance(model, PersonModel):
        members = (model.estimator,)
    else:
        members = (model.normal_estimator, model.depth_estimator)
    networks = {network.role: _described(network) for network in members}
    header = {"kind": "hdnet", "networks": networks, "camera": model.camera.to_dict()}
    _save(path, model.state_dict(), header, provenance)


def save_halved(path: Path, source: Path) -> None:
    """Write a complete model once more, weights in half precision; vectors, as those of batch norm, stay as they are.

    Args:
        path: File to write.
        source: Model file; its header, with the provenance, is kept.

    Raises:
        ModelError: If the source is missing or not a complete model, or a weight is too large for half precision.
    """
    model, header = load_hdnet(source), read_header(source)
    state = {name: tensor.half() if tensor.dim() > 1 else tensor for name, tensor in model.state_dict().items()}
    large = [name for name, tensor in state.items() if not tensor.isfinite().all()]
    if large:
        raise ModelError(f"{source}: {large[0]} has values beyond half precision; ship it as it is")
    _save(path, state, header, header["provenance"])


def save_mean(path: Path, source: Path, other: Path) -> None:
    """Write the mean of the weights of two complete models, which is often better than both ends of a training.

    Wortsman et al., "Model soups", ICML 2022.

    Args:
        path: File to write.
        source: Model file; its header is kept, and its provenance gains the other's SHA-256.
        other: Model file of the same network.

    Raises:
        ModelError: If one is missing or not a complete model, or their networks differ.
    """
    model, theirs, header = load_hdnet(source), load_hdnet(other).state_dict(), read_header(source)
    if header["networks"] != read_header(other)["networks"]:
        raise ModelError(f"{other}: is another network than {source}; only weights of one network have a mean")
    state = {
        name: own.lerp(theirs[name], 0.5) if own.is_floating_point() else own
        for name, own in model.state_dict().items()
    }
    _save(path, state, header, header["provenance"] | {"mean_with": sha256_of(other)})


@overload
def load_hdnet(path: Path) -> HDNet | PersonModel: ...
@overload
def load_hdnet(path: Path, kind: type[CompleteT]) -> CompleteT: ...
def load_hdnet(path: Path, kind: type[nn.Module] = nn.Module) -> nn.Module:
    """Read the complete model, in evaluation mode, on the CPU.

    Args:
        path: Model file.
        kind: :class:`HDNet` or :class:`PersonModel` where only one of them will do.

    Raises:
        ModelError: If the file is missing, damaged, of another kind, or its weights do not fit its configuration.
    """
    header = read_header(path)
    if header["kind"] != "hdnet":
        raise ModelError(f"{path}: holds a {header['kind']!r} network alone, expected a complete 'hdnet' model")
    networks = header["networks"]
    found = PersonModel if LiteEstimator.role in networks else HDNet
    if not issubclass(found, kind):
        raise ModelError(f"{path}: holds {_MODELS[found]}, expected {_MODELS[kind]}")
    camera = Camera.from_dict(header["camera"])
    model: nn.Module
    if found is PersonModel:
        model = PersonModel(_build(networks[LiteEstimator.role], LiteEstimator, path), camera)
    else:
        normal = _build(networks["normal"], NormalEstimator, path)
        model = HDNet(normal, _build(networks["depth"], DepthEstimator, path), camera)
    return _fill(model, load_file(path), path)


def read_header(path: Path) -> dict[str, Any]:
    """Read kind, configuration, camera and provenance of a model file, without the weights.

    Raises:
        ModelError: If the file is missing or is not one of ours.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path}: no such model file; train one with `hdnet train` or name another source")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: not a readable safetensors file ({error})") from error
    if "hdnet" not in metadata:
        raise ModelError(f"{path}: a safetensors file, but without the 'hdnet' header that our models carry")
    header: dict[str, Any] = json.loads(metadata["hdnet"])
    if header.get("format") != FORMAT_VERSION:
        raise ModelError(f"{path}: model format {header.get('format')!r}, this version reads {FORMAT_VERSION}")
    return header


def _save(path: Path, state: dict[str, Tensor], header: dict[str, Any], provenance: dict[str, str]) -> None:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"format": FORMAT_VERSION, **header, "provenance": provenance}, sort_keys=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    try:
        with atomic_write(path) as temporary:
            save_file(tensors, temporary, metadata={"hdnet": text})
            temporary.chmod(0o644)  # safetensors writes for the owner alone
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot be written ({error}); is the disk full?") from error


def _prefix(header: dict[str, Any], role: str) -> str:
    """Prefix of the names of a network's weights in a file."""
    if header["kind"] != "hdnet":
        return ""
    return "estimator." if role == LiteEstimator.role else f"{role}_estimator."


def _described(network: Estimator) -> dict[str, Any]:
    return {"network": network.network, **network.config.to_dict()}


def _build(values: dict[str, Any], kind: type[EstimatorT], path: Path) -> EstimatorT:
    """A network with random weights from its entry in a header."""
    name, config = values.get("network", _UNNAMED_NETWORK), {k: v for k, v in values.items() if k != "network"}
    network = NETWORKS.get((name, kind.role))
    if network is None or not issubclass(network, kind):
        raise ModelError(f"{path}: its {kind.role} network is {name!r}, expected {kind.network!r}")
    try:
        return network.from_dict(config)
    except (TypeError, ModelError) as error:
        raise ModelError(f"{path}: network configuration {config} is not understood ({error})") from error


def _fill(model: ModuleT, state: dict[str, Tensor], path: Path) -> ModuleT:
    try:
        weights = {name: tensor for name, tensor in state.items() if not name.startswith(_MOMENTS)}
        model.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise ModelError(f"{path}: weights do not fit the network of the header: {first}") from error
    return model.eval()
