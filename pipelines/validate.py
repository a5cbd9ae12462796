"""Stage `validate`: checks on all raw data."""

from hdnet import stages
from pipelines import stage

if __name__ == "__main__":
    stage.run(stages.validate)
