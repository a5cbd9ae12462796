"""Stage `promote`: the newest version becomes the champion if it is better than the one that serves."""

from hdnet import stages
from pipelines import stage

if __name__ == "__main__":
    stage.run(stages.promote)
