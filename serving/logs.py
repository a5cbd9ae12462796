"""Log lines: for people as text, for programs as one JSON object a line; both know their request."""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

# The request that the running task answers; threads of the lane do not see it.
current_request: ContextVar[str] = ContextVar("hdnet_request", default="")

_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class JsonFormatter(logging.Formatter):
    """One object a line: time (UTC), level, logger, message, request_id, exception, and the record's ``fields``."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without a line feed in it."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := current_request.get():
            line["request_id"] = request_id
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(log_format: Literal["text", "json"]) -> None:
    """Sends all logs of the process to standard error in one form, those of uvicorn and MLflow, too."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # The model store says once that the registry is away; every attempt of the HTTP client need not.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
