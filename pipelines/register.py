"""Stage `register`: the evaluated model becomes a registered version."""

from hdnet import stages
from pipelines import stage

if __name__ == "__main__":
    stage.run(stages.register)
