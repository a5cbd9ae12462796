"""Stage `promote`: the newest version becomes the champion if it is better than the one that serves."""

from __future__ import annotations

import logging

from hdnet.files import read_json_object
from hdnet.params import Params
from hdnet.registry import promotion
from hdnet.workspace import Workspace
from pipelines.stage import main

logger = logging.getLogger(__name__)


def promote(work: Workspace, params: Params) -> None:
    """Read the version that stage `register` made and the held-out people; write the decision, whichever it is.

    Raises:
        ModelError: One of the two versions cannot be loaded.
        TrackingError: MLflow cannot be reached.
    """
    version = str(read_json_object(work.registered_version)["version"])
    decision = promotion.promote(promotion.comparison_of(params, work.heldout), work.report("promote"), version)
    logger.info("%s", decision.line)


if __name__ == "__main__":
    main(promote, tracked=False)
