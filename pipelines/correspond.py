"""Stage `correspond`: matches between unlabelled frames."""

from hdnet import stages
from hdnet.tracking import runs
from pipelines import stage

if __name__ == "__main__":
    stage.run(lambda work, params: stages.correspond(work, params, runs.run))
