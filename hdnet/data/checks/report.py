"""Output of a validation: lines for the terminal; a folder with text, JSON and a picture of the worst frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from hdnet.data.checks.findings import Finding, Report
from hdnet.data.checks.sheet import worst_sheet
from hdnet.errors import DataError
from hdnet.files import write_json
from hdnet.tables import markdown_table

FINDINGS_FILE, REPORT_FILE, WORST_FILE = "findings.json", "report.md", "worst.png"
# Findings shown of each kind; the others are counted.
_SHOWN = 5
_MEANINGS = {
    "body_parts": "different DensePose parts inside the mask",
    "depth_lost": "share of the mask without depth in 1..8 m, which leaves the mask",
    "depth_median_m": "median depth in metres; any is fine, readers shift it to 4",
    "depth_relief_m": "from the nearest to the farthest of the person, metres (2nd to 98th percentile)",
    "facing_away": "share of the normals that face away from the camera",
    "fitted_focal_ratio": "focal length that depth and normals fit, by the given one",
    "fitted_offset_x_px": "principal point that depth and normals fit, right of the given one, pixels",
    "fitted_offset_y_px": "the same, below the given one; rims and folds make it 5 to 15 pixels",
    "mask_share": "share of the picture that is mask",
    "normal_angle_deg": "mean angle between stored normals and those of the depth map, degrees",
    "normal_correlation": "whether stored normals turn as those of the depth map do, 1 where they do",
    "predicted_confidence": "confidence of the network that found mask or map, where none was given; 0 to 1",
    "part_coverage": "share of the mask with a DensePose part",
    "parts_outside": "share of the DensePose parts beyond the mask",
}


def summary(report: Report) -> list[tuple[str, str]]:
    """Findings as ("warning" or "error", line), grouped by kind: the first five of each kind, and a count."""
    lines: list[tuple[str, str]] = []
    for severity, findings in (("warning", report.warnings), ("error", report.errors)):
        for kind, members in by_kind(findings).items():
            lines += [(severity, str(finding)) for finding in members[:_SHOWN]]
            if len(members) > _SHOWN:
                lines.append((severity, f"and {len(members) - _SHOWN} more of this kind ({kind})"))
    return lines


def by_kind(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    """Findings by kind, in the order in which each kind first appears."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.kind, []).append(finding)
    return groups


def write_report(folder: Path, reports: Mapping[str, Report]) -> list[Path]:
    """Write ``findings.json`` (complete), ``report.md`` (the first of each kind) and ``worst.png``.

    Args:
        folder: Created if missing; files of an earlier report are replaced.
        reports: Reports by a name for the folder.

    Returns:
        The three files.

    Raises:
        DataError: The folder cannot be written.
    """
    files = [folder / name for name in (FINDINGS_FILE, REPORT_FILE, WORST_FILE)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(files[0], {name: report.to_dict() for name, report in reports.items()})
        files[1].write_text(to_markdown(reports), encoding="utf-8")
        Image.fromarray(worst_sheet(reports)).save(files[2])
    except OSError as error:
        raise DataError(f"{folder}: the report cannot be written ({error}); choose another folder") from error
    return files


def to_markdown(reports: Mapping[str, Report]) -> str:
    """The report as text."""
    rows = [
        [f"{name} (`{report.folder}`)", report.samples, len(report.errors), len(report.warnings)]
        for name, report in reports.items()
    ]
    lines = ["# Validation", "", *markdown_table(["folder", "frames", "errors", "warnings"], rows, "lr")]
    lines += ["", f"Everything that was found, one by one: `{FINDINGS_FILE}`.", "", f"![worst frames]({WORST_FILE})"]
    for name, report in reports.items():
        lines += ["", f"## {name}", ""]
        for title, findings in (("Errors", report.errors), ("Warnings", report.warnings)):
            lines += _findings_section(title, findings)
        lines += _statistics_section(report)
    return "\n".join(lines) + "\n"


def _findings_section(title: str, findings: Sequence[Finding]) -> list[str]:
    if not findings:
        return [f"{title}: none.", ""]
    lines = [f"### {title}", ""]
    for kind, members in by_kind(findings).items():
        lines += [f"**{kind}** ({len(members)})", ""]
        lines += [
            f"- `{finding.file}`: {finding.found}; expected {finding.expected}. *{finding.fix}*"
            for finding in members[:_SHOWN]
        ]
        if len(members) > _SHOWN:
            lines.append(f"- and {len(members) - _SHOWN} more")
        lines.append("")
    return lines


def _statistics_section(report: Report) -> list[str]:
    if not report.statistics:
        return []
    rows = []
    for key, value in report.statistics.items():
        if isinstance(value, dict):
            cells = [f"{value[name]:.4g}" for name in ("mean", "min", "max")] + [str(value.get("worst", ""))]
        else:
            cells = [f"{value:.4g}", "", "", ""]
        rows.append([key, *cells, _MEANINGS.get(key, "")])
    headings = ["figure", "mean", "least", "largest", "worst frame", ""]
    return ["### Statistics", "", *markdown_table(headings, rows, "lrrrl")]
