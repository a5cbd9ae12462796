"""Stage `acquire`: raw data in the real layout."""

from hdnet import registry, stages
from pipelines import stage

if __name__ == "__main__":
    stage.run(lambda work, params: stages.acquire(work, params, registry.run))
