"""Stage `pack`: memory-mapped arrays."""

from hdnet import stages
from pipelines import stage

if __name__ == "__main__":
    stage.run(stages.pack)
