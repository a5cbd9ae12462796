"""Stage `train_hdnet`, tracked in MLflow."""

from hdnet import stages
from hdnet.tracking import runs
from pipelines import stage

if __name__ == "__main__":
    stage.run(lambda work, params: stages.train_hdnet(work, params, runs.run))
