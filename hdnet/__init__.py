"""HDNet: depth, surface normals and a mesh of a dressed person from one picture."""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hdnet.predict.inference import Predictor as Predictor
    from hdnet.predict.inference import load as load
    from hdnet.video.frames import predict_video as predict_video

# Before torch is loaded: OpenMP threads that wait sleep. Spinning, they share cores with busy programs and all wait for
# all: a training beside one busy process was seen to fall to a fortieth of its speed (docs/training.md).
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# OpenVINO counts its users: at import it writes an ID into the home folder and sends it, where it finds this package.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

__version__ = "0.1.0"

# Public names and their modules, imported on first use: `import hdnet` does not import torch.
_MODULES = {
    "Predictor": "hdnet.predict.inference",
    "load": "hdnet.predict.inference",
    "predict_video": "hdnet.video.frames",
}

__all__ = ["Predictor", "__version__", "load", "predict_video"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'hdnet' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
