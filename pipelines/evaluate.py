"""Stage `evaluate`: the model and two baselines on held-out people, tracked in MLflow."""

from hdnet import registry, stages
from pipelines import stage

if __name__ == "__main__":
    stage.run(lambda work, params: stages.evaluate(work, params, registry.run))
