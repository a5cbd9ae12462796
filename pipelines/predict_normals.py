"""Stage `predict_normals`: normals of the unlabelled frames."""

from hdnet import registry, stages
from pipelines import stage

if __name__ == "__main__":
    stage.run(lambda work, params: stages.predict_normals(work, params, registry.run))
