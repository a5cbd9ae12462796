"""Stage `train_depth`, tracked in MLflow."""

from hdnet import registry, stages
from pipelines import stage

if __name__ == "__main__":
    stage.run(lambda work, params: stages.train_depth(work, params, registry.run))
