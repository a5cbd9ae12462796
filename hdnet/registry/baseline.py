"""The shipped model as a registry's first version: what our own has to beat before it serves."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from hdnet.files import sha256_of
from hdnet.models.weights import HDNET_FILE
from hdnet.registry.card import CARD_FILE
from hdnet.registry.champions import Champions
from hdnet.registry.models import Card, register
from hdnet.tracking import runs
from hdnet.workspace import SHIPPED, SHIPPED_SOURCE

_REASON = "it comes with the package, and there was no other version"


def register_shipped(champions: Champions) -> str | None:
    """Register the shipped model and make it the champion, where there is no version yet.

    Two pipelines that begin at once may register it twice; one of the two versions becomes the champion.

    Args:
        champions: Registered model and its aliases.

    Returns:
        The version; None where the registry has versions of that name already.

    Raises:
        ModelError: The exported model does not reproduce the one on file.
        TrackingError: MLflow cannot be reached.
    """
    if not champions.is_empty():
        return None
    tags = {"model_sha256": sha256_of(SHIPPED), "source": SHIPPED_SOURCE}
    with runs.run(SHIPPED_SOURCE, {}, tags), TemporaryDirectory() as folder:
        model = Path(shutil.copyfile(SHIPPED, Path(folder) / HDNET_FILE))
        text = SHIPPED.with_name("MODEL_CARD.md")
        card = Card([Path(shutil.copyfile(text, Path(folder) / CARD_FILE))], _summary(text))
        identity = register(model, champions.name, None, {}, tags, card)
        champions.install(identity.version, None, runs.open_run_id(), _REASON)
    return identity.version


def _summary(card: Path) -> str:
    """Return what the card says before its first table or heading."""
    said = card.read_text(encoding="utf-8").partition("\n|")[0].partition("\n")[2].strip()
    return f"{said}\n\nThe whole card is `extra_files/{CARD_FILE}` of the logged model."
