"""Stage `pack`: memory-mapped arrays."""

from hdnet import stages
from hdnet.tracking import runs
from pipelines import stage

if __name__ == "__main__":
    stage.run(lambda work, params: stages.pack(work, params, runs.run))
