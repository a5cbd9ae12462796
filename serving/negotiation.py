"""Which of our media types an ``Accept`` header asks for (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from collections.abc import Sequence


def choose(accept: str, offered: Sequence[str]) -> str | None:
    """The offered type of the highest quality; of equals the first.

    The most specific range that matches a type decides its quality, so ``image/*;q=0`` takes away PNG even
    beside ``*/*``. Ranges that cannot be read are skipped. An empty header means that anything will do.

    Args:
        accept: Value of the header, several joined by commas.
        offered: Types without parameters, the preferred one first.

    Returns:
        One of ``offered``, or None if the header admits none.
    """
    if not accept.strip():
        return offered[0]
    ranges = [parsed for text in accept.split(",") if (parsed := _parse(text)) is not None]
    best, best_quality = None, 0.0
    for media_type in offered:
        quality = _quality(media_type, ranges)
        if quality > best_quality:
            best, best_quality = media_type, quality
    return best


def _parse(text: str) -> tuple[str, float] | None:
    media_range, *parameters = (part.strip().lower() for part in text.split(";"))
    if media_range.count("/") != 1:
        return None
    quality = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                quality = float(value)
            except ValueError:
                return None
    return (media_range, quality) if 0 <= quality <= 1 else None


def _quality(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    main = media_type.split("/")[0]
    for pattern in (media_type, f"{main}/*", "*/*"):
        matching = [quality for media_range, quality in ranges if media_range == pattern]
        if matching:
            return max(matching)
    return 0.0
