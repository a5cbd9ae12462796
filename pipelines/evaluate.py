"""Stage `evaluate`: the model and two baselines on held-out people, tracked in MLflow."""

from hdnet import stages
from hdnet.tracking import runs
from pipelines import stage

if __name__ == "__main__":
    stage.run(lambda work, params: stages.evaluate(work, params, runs.run))
