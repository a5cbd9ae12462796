"""Stage `acquire`: raw data in the real layout."""

from hdnet import stages
from pipelines import stage

if __name__ == "__main__":
    stage.run(stages.acquire)
