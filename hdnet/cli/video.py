"""``video``: one person in a video, as films, maps and meshes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hdnet.cli.commands import Arguments, Command, Parser, say, with_jobs
from hdnet.data.importing.video import Selection
from hdnet.predict.runtime_names import AUTO, RUNTIMES
from hdnet.video.clip import Options
from hdnet.video.survey import PICTURE_SIDE_PX
from hdnet.video.writing import ADAPTED_FILE, CLIP_FILE, PAGE_FILE, save_video
from hdnet.workspace import SHIPPED_SOURCE


def video(verb: Parser) -> Command:
    """``video``."""
    verb.add_argument("video", type=Path, help="a file that FFmpeg reads; sound is ignored")
    verb.add_argument("--out", type=Path, required=True, help="folder for the results; started again, a run goes on")
    verb.add_argument("--model", default=SHIPPED_SOURCE, help="a model for photographs (default: that of the package)")
    verb.add_argument(
        "--runtime",
        choices=(AUTO, *RUNTIMES),
        default="",
        help="default: openvino-bf16 where processor and model bear it, else openvino; torch where that is missing",
    )
    verb.add_argument(
        "--person",
        type=int,
        default=1,
        help="whom to follow of several: 1 is the likeliest subject of the first frames",
    )
    verb.add_argument("--every", type=int, default=1, help="take every n-th frame")
    verb.add_argument("--start", type=float, metavar="SECONDS", help="from the first frame")
    verb.add_argument("--end", type=float, metavar="SECONDS")
    lens = verb.add_mutually_exclusive_group()
    lens.add_argument("--fx", type=float, help="focal length in pixels of the upright picture (default: a phone's)")
    lens.add_argument("--fov-deg", type=float, help="vertical field of view instead")
    verb.add_argument("--height-m", type=float, help="the person's height, which then gives the distance")
    verb.add_argument(
        "--size", type=int, default=PICTURE_SIDE_PX, help="longest side of depth and normals in pixels, at most"
    )
    verb.add_argument("--meshes", action="store_true", help="a GLB file a frame")
    verb.add_argument("--page", action="store_true", help="meshes.html, which plays the meshes in a browser")
    verb.add_argument(
        "--adapt",
        type=int,
        metavar="STEPS",
        help="first let the network learn from the video itself, at most so many steps of about a second (extras "
        "`train` and `synthetic`)",
    )
    return with_jobs(verb, _video, jobs=0)


def _video(arguments: Arguments) -> None:
    selection = Selection(arguments.every, arguments.start, arguments.end)
    options = Options(
        model=arguments.model,
        runtime=arguments.runtime,
        person=arguments.person,
        selection=selection,
        fx=arguments.fx,
        fov_deg=arguments.fov_deg,
        height_m=arguments.height_m,
        jobs=arguments.jobs,
    )
    adapter = None
    if arguments.adapt is not None:
        from hdnet.training.adaptation import Adaptation  # slow to import

        adapter = Adaptation(arguments.adapt)
    content = save_video(
        *(arguments.video, arguments.out, options, arguments.size, arguments.meshes),
        progress=True,
        adapter=adapter,
        page=arguments.page,
    )
    for name in ("panels.mp4", "turntable.mp4", PAGE_FILE, ADAPTED_FILE, CLIP_FILE):
        if (arguments.out / name).exists():
            say(str(arguments.out / name))
    scale, frames = content["scale"], content["frames"]
    seen = sum("skipped" not in one for one in frames)
    distance = f"{scale['distance_m']:.2f} m ({scale['source']})"
    say(f"{seen} of {len(frames)} frames, {len(content['cuts'])} cuts, person at {distance}")
    if "adapted" in content:
        say(_told(content["adapted"]))
    for gap in content["skipped"]:
        say(f"frames {gap['first']} to {gap['last']} left out: {gap['reason']}")
    for remark in content["remarks"]:
        say(remark)


def _told(adapted: dict[str, Any]) -> str:
    """Return the gain of the adaptation as a line."""
    start = adapted["measured"][0]
    kept = next(one for one in adapted["measured"] if one["step"] == adapted["kept_step"])
    change = f"warp residual of held-out frames {start['warp_mm']:.1f} -> {kept['warp_mm']:.1f} mm"
    if not adapted["kept_step"]:
        return f"the weights stay as they were after {adapted['steps']} steps of adaptation: {adapted['reason']}"
    return f"weights adapted by {adapted['kept_step']} steps: {change}"
