"""What goes into the registry beside the model: lineage as tags, the card."""

from __future__ import annotations

from pathlib import Path

from hdnet.errors import ModelError
from hdnet.files import read_json_object, sha256_of
from hdnet.metrics.table import METRICS
from hdnet.models.weights import read_header
from hdnet.params import Params
from hdnet.registry.card import BEST_TO_WORST, LEARNED_FROM, CardFacts, params_sha256
from hdnet.tracking.lineage import locked_pipeline
from hdnet.tracking.tracker import METRICS_FILE
from hdnet.workspace import Workspace

# Says which model the metrics beside it belong to; stage `evaluate` writes it.
EVALUATED_FILE = "model.json"
TABLE_FILE = "table.md"


def evaluated_metrics(work: Workspace) -> dict[str, float]:
    """Held-out metrics of the workspace's model.

    Raises:
        ModelError: If they are another model's.
        DataError: If it was not evaluated.
    """
    evaluated = read_json_object(work.report("evaluate") / EVALUATED_FILE)
    if evaluated.get("model_sha256") != sha256_of(work.hdnet_model):
        raise ModelError(f"{work.hdnet_model}: is not the model that was evaluated; run `hdnet evaluate` first")
    return read_json_object(work.report("evaluate") / METRICS_FILE)


def lineage_tags(work: Workspace, params: Params, metrics: dict[str, float]) -> dict[str, str]:
    """Data, parameters and figures of the workspace's model; the git commit comes with the run.

    DVC's hashes are those of everything that led to the model, and only there if dvc.lock describes it.
    """
    locked = locked_pipeline(work.root, work.hdnet_model)
    made = locked.outputs if locked else {}
    provenance = read_header(work.hdnet_model)["provenance"]
    return {
        "model_sha256": sha256_of(work.hdnet_model),
        "params_sha256": params_sha256(params),
        **{f"dvc.{path}": md5 for path, md5 in made.items() if not path.startswith("reports/")},
        **{f"training.{key}": str(value) for key, value in provenance.items()},
        **{f"metrics.{name}": f"{metrics[f'model/{name}']:.6g}" for name in METRICS if f"model/{name}" in metrics},
    }


def card_facts(work: Workspace, params: Params, metrics: dict[str, float], tags: dict[str, str]) -> CardFacts:
    """What the reports of the workspace's stages tell the model card."""
    counted = work.report("validate") / METRICS_FILE
    pictures = {
        LEARNED_FROM: work.report("acquire") / "contact_sheet.png",
        BEST_TO_WORST: work.report("evaluate") / "contact_sheet.png",
    }
    return CardFacts(
        name=params.register_.name,
        header=read_header(work.hdnet_model),
        params=params,
        samples=read_json_object(counted) if counted.is_file() else {},
        metrics=metrics,
        table=_table(work.report("evaluate") / TABLE_FILE),
        tags={key: value for key, value in tags.items() if not key.startswith(("metrics.", "training."))},
        pictures={heading: path for heading, path in pictures.items() if path.is_file()},
    )


def _table(path: Path) -> str:
    if not path.is_file():
        raise ModelError(f"{path}: file is missing; run `hdnet evaluate` first")
    return path.read_text(encoding="utf-8")
