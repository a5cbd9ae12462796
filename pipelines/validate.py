"""Stage `validate`: checks on all raw data."""

from hdnet import stages
from hdnet.tracking import runs
from pipelines import stage

if __name__ == "__main__":
    stage.run(lambda work, params: stages.validate(work, params, runs.run))
