"""Stage `check_registry`: notice of a pipeline whose model was registered elsewhere than MLFLOW_TRACKING_URI names.

DVC watches files and parameters, no environment, so this stage runs each time. It takes no network and writes nothing.
"""

from __future__ import annotations

import logging

from hdnet.params import Params
from hdnet.tracking.address import registered_elsewhere
from hdnet.workspace import Workspace
from pipelines.stage import main

logger = logging.getLogger(__name__)


def check_registry(work: Workspace, _params: Params) -> None:
    """Warn if the registered version lies in another registry, with the commands that register it in this one."""
    moved = registered_elsewhere(work)
    if moved:
        logger.warning("%s", moved)


if __name__ == "__main__":
    main(check_registry, tracked=False)
