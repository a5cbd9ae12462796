"""Stage `predict_normals`: normals of the unlabelled frames."""

from hdnet import stages
from pipelines import stage

if __name__ == "__main__":
    stage.run(stages.predict_normals)
