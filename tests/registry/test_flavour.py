import pickle
import shutil

import mlflow
import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from mlflow.pyfunc.scoring_server import init

from hdnet import registry
from hdnet.geometry import Camera
from hdnet.models import DepthEstimator, HDNet, NormalEstimator
from hdnet.models.weights import HDNET_FILE, load_hdnet, save_hdnet
from hdnet.predict.inference import Predictor
from hdnet.predict.runtimes.agreement import probes_for
from hdnet.tracking import runs
from hdnet.workspace import SHIPPED

pytestmark = pytest.mark.usefixtures("mlflow_store")


@pytest.fixture(params=["hourglass", "lite"])
def model_file(request, tmp_path):
    path = tmp_path / HDNET_FILE
    if request.param == "lite":
        shutil.copy(SHIPPED, path)
        return path
    torch.manual_seed(0)
    model = HDNet(NormalEstimator(2, "unit"), DepthEstimator(2, "unit", 4.0), Camera.centred())
    save_hdnet(path, model, {"stage": "train_hdnet"})
    return path


def test_a_version_gives_our_numbers_as_a_python_function_and_over_mlflows_server(model_file, monkeypatch):
    with runs.run("register", {}, {}):
        registry.register(model_file, "hdnet", "champion", {}, {})
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, None)
    function = mlflow.pyfunc.load_model("models:/hdnet@champion")
    assert isinstance(function.get_raw_model(), Predictor)
    inputs = probes_for(load_hdnet(model_file), 3, seed=1).inputs_bchw
    (name,) = function.metadata.get_input_schema().input_names()
    found = function.predict({name: inputs})
    expected = Predictor.load(model_file).runtime(inputs)
    expected = expected if isinstance(expected, tuple) else (expected,)
    assert list(found) == function.metadata.get_output_schema().input_names()
    for one, other in zip(found.values(), expected, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(mlflow.MlflowException, match="expected shape"):
        function.predict({name: inputs[:, :2]})
    with pytest.raises(ValueError, match="found parameters size, expected none"):
        function._model_impl.predict({name: inputs}, {"size": 1})

    answer = TestClient(init(function)).post("/invocations", json={"inputs": {name: inputs[:1].tolist()}})
    assert answer.status_code == 200
    for key, values in function.predict({name: inputs[:1]}).items():
        np.testing.assert_allclose(np.array(answer.json()["predictions"][key]), values, rtol=1e-5, atol=1e-6)
