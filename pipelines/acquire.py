"""Stage `acquire`: raw data in the real layout."""

from hdnet import stages
from hdnet.tracking import runs
from pipelines import stage

if __name__ == "__main__":
    stage.run(lambda work, params: stages.acquire(work, params, runs.run))
