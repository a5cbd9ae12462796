"""Stage `pack`: memory-mapped arrays."""

from hdnet import registry, stages
from pipelines import stage

if __name__ == "__main__":
    stage.run(lambda work, params: stages.pack(work, params, registry.run))
