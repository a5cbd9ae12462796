"""The parts of the service that its endpoints share."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from serving.admission import AdmissionControl
from serving.drift import Drift
from serving.metrics import Metrics
from serving.model_choice import ModelChoice
from serving.model_store import ModelStore, ServedModel
from serving.settings import Settings


@dataclass(frozen=True, eq=False)
class Service:
    """The parts of one service; lives in ``app.state.service``."""

    settings: Settings
    store: ModelStore
    choice: ModelChoice
    admission: AdmissionControl
    metrics: Metrics
    drift: Drift
    leaving: threading.Event = field(default_factory=threading.Event)  # set between SIGTERM and the end


def get_service(request: Request) -> Service:
    """The service of this application."""
    service: Service = request.app.state.service
    return service


ServiceParameter = Annotated[Service, Depends(get_service)]


def require_model(request: Request, service: ServiceParameter) -> ServedModel:
    """The model in service, for the whole request.

    Raises:
        Problem: 503 while there is none.
    """
    model = service.store.require()
    request.state.model_headers = model.headers()  # errors name the model too
    return model


ModelParameter = Annotated[ServedModel, Depends(require_model)]
