"""MLflow's flavour ``python_function`` of a version: its own model file, read by this package, without pickle.

MLflow imports this module by its name, from the environment, when it loads a version so; nothing in a version is code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hdnet.models.weights import HDNET_FILE
from hdnet.predict.inference import Predictor
from hdnet.predict.runtime_names import INPUT_NAME, OUTPUT_NAME, PERSON_INPUT_NAME, PERSON_OUTPUT_NAMES
from hdnet.tracking.versions import EXTRA_FILES

import mlflow.pytorch  # isort: skip - after hdnet.tracking, which sets its environment
from mlflow import pyfunc
from mlflow.models import Model
from mlflow.models.model import MLMODEL_FILE_NAME


class Networks:
    """The networks of a version, with the names of inputs and outputs that its signature gives.

    Args:
        predictor: The loaded version.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def predict(self, inputs: dict[str, np.ndarray], params: dict[str, Any] | None = None) -> dict[str, np.ndarray]:
        """Run the networks on crops.

        Args:
            inputs: (B, C, 256, 256) float32 by the name of the signature; MLflow has checked both.
            params: None are known.

        Returns:
            Outputs by their names.

        Raises:
            ValueError: Parameters are given.
        """
        if params:
            raise ValueError(f"found parameters {', '.join(params)}, expected none")
        if self._predictor.finds_people:
            outputs = self._predictor.runtime(inputs[PERSON_INPUT_NAME])
            return dict(zip(PERSON_OUTPUT_NAMES, outputs, strict=True))
        return {OUTPUT_NAME: np.asarray(self._predictor.runtime(inputs[INPUT_NAME]))}

    def get_raw_model(self) -> Predictor:
        """Return what predicts from photographs; MLflow's ``unwrap_python_model`` and the like call this."""
        return self._predictor


def _load_pyfunc(data_path: str) -> Networks:
    """Load a version's model file; MLflow calls this."""
    return Networks(Predictor.load(Path(data_path)))


def save_model(path: str, mlflow_model: Model, **options: Any) -> None:
    """Save a version with both flavours, ``pytorch`` and ``python_function``; MLflow's ``Model.log`` calls this.

    Args:
        path: Folder to write.
        mlflow_model: Its description.
        options: As of ``mlflow.pytorch.save_model``; `extra_files` holds the model file.
    """
    mlflow.pytorch.save_model(path=path, mlflow_model=mlflow_model, **options)
    environments = {"conda_env": "conda.yaml", "python_env": "python_env.yaml"}
    pyfunc.add_to_model(mlflow_model, loader_module=__name__, data=f"{EXTRA_FILES}/{HDNET_FILE}", **environments)
    mlflow_model.save(str(Path(path) / MLMODEL_FILE_NAME))
