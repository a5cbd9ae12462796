"""Shoes: an upper cut from the tights (whose feet have no toes), a sole, laces, straps and socks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hdnet.synthetic.accessories.meshes import Mesh, grid_faces, joined, smoothstep, surface_of, tube
from hdnet.synthetic.accessories.shells import Shell, covered_skin, foot_shell, lace_rows, sock_shell, strap_shell
from hdnet.synthetic.body import body_model
from hdnet.synthetic.canonical import canonical_body
from hdnet.synthetic.components import Component, Material, Rigid, Shape, Skinned
from hdnet.synthetic.materials import Plain, draw_colour, draw_noise
from hdnet.synthetic.surface import BoolArray, FloatArray

_ANGLES = 44


@dataclass(frozen=True, eq=False)
class Covering(Component):
    """Component that hides the skin below it.

    Attributes:
        covers: (F,) the skin faces that it covers.
    """

    covers: BoolArray


@dataclass(frozen=True, eq=False)
class _Look:
    """Properties that both shoes of a pair share."""

    kind: str
    upper: Material
    sole: Material
    lace: Material
    sock: str
    sock_cloth: Material
    sole_m: float
    room_m: float
    laced: bool
    pointed: float
    welt_m: float


def draw_shoes(rng: np.random.Generator, shape: Shape) -> tuple[Component, ...]:
    """Draw a pair of sneakers, leather shoes, high-tops or boots, rarely sandals or none, some with socks."""
    kinds = ["sneaker", "leather", "high", "boot", "sandal", "bare"]
    kind = str(rng.choice(kinds, p=[0.55, 0.15, 0.12, 0.10, 0.04, 0.04]))
    if kind == "bare":
        return ()
    look = _draw_look(rng, kind)
    return tuple(component for side in ("L", "R") for component in _shoe(shape, side, look))


def hidden_skin(components: tuple[Component, ...]) -> BoolArray:
    """Return the skin faces (F,) under shoes and socks, which must not be rendered.

    F counts ``body_model().triangles["skin"]``. Skin within about a centimetre of an opening stays visible.
    """
    hidden = np.zeros(len(body_model().triangles["skin"]), dtype=bool)
    for component in components:
        if isinstance(component, Covering):
            hidden |= component.covers
    return hidden


def _draw_look(rng: np.random.Generator, kind: str) -> _Look:
    leather = kind in ("leather", "boot")
    brown = np.array([0.09, 0.045, 0.022]) * rng.uniform(0.35, 2.4)
    black = np.full(3, rng.uniform(0.008, 0.03))
    upper_colour = (brown if rng.random() < 0.5 else black) if leather else draw_colour(rng)
    pale = np.full(3, rng.uniform(0.5, 0.85)) * [1.0, 0.98, 0.93]
    sole_colour = black if leather and rng.random() < 0.9 else (pale if rng.random() < 0.65 else draw_colour(rng))
    lace_colour = upper_colour if leather else (pale if rng.random() < 0.6 else draw_colour(rng))
    sock = "ankle" if kind == "leather" else str(rng.choice(["", "ankle", "crew"], p=[0.3, 0.35, 0.35]))
    if (kind == "high" and sock == "ankle") or kind in ("boot", "sandal"):
        sock = ""
    sock_colour = pale if rng.random() < 0.5 else draw_colour(rng, 0.15)
    upper: Material = Plain(
        upper_colour, float(rng.uniform(0.3, 0.6) if leather else 0.08), draw_noise(rng, 25, 3) if leather else None
    )
    if not leather and rng.random() < 0.6:
        upper = Panels(upper, Plain(draw_colour(rng), 0.1), str(rng.choice(["toe", "heel", "stripes", "both"])))
    return _Look(
        kind={"sneaker": "low", "leather": "low"}.get(kind, kind),
        upper=upper,
        sole=Plain(sole_colour, 0.1),
        lace=Plain(lace_colour, 0.05),
        sock=sock,
        sock_cloth=Plain(sock_colour, 0.0),
        sole_m=float(rng.uniform(0.012, 0.018) if leather else rng.uniform(0.018, 0.034)),
        room_m=float(rng.uniform(0.002, 0.004) if leather else rng.uniform(0.004, 0.008)),
        laced=kind != "sandal" and (kind != "boot" or rng.random() < 0.4),
        pointed=float(rng.uniform(0.3, 0.9) if leather else rng.uniform(0.0, 0.3)),
        welt_m=float(rng.uniform(-0.001, 0.002)),
    )


@dataclass(frozen=True, eq=False)
class Panels:
    """Upper of two colours.

    Attributes:
        main, second: The materials.
        pattern: "toe", "heel", "both" or "stripes".
    """

    main: Material
    second: Material
    pattern: str

    @property
    def gloss(self) -> float:
        """Strength of the highlight."""
        return self.main.gloss

    def albedo(self, points: FloatArray) -> FloatArray:
        """Return linear RGB (N, 3) at positions (N, 3) on the canonical body."""
        body = canonical_body()
        forward = body.joints["foot.L"][1] - points[:, 1]
        up = points[:, 2] - body.joints["foot.L"][2]
        toe, heel = forward > 0.165 - 0.5 * np.maximum(up + 0.06, 0), forward < -0.012
        stripes = (np.abs((forward - 0.6 * up) % 0.026 - 0.013) < 0.0055) & (np.abs(forward - 0.075) < 0.042)
        here = {"toe": toe, "heel": heel, "both": toe | heel, "stripes": stripes & (up < -0.02)}[self.pattern]
        return np.where(here[:, None], self.second.albedo(points), self.main.albedo(points))


def _shoe(shape: Shape, side: str, look: _Look) -> list[Component]:
    components: list[Component] = []
    inner = foot_shell("low", side)
    lowest = _lowest(shape, side)
    grown = inner.offset(shape.rest, look.room_m, 1)
    components.append(_sole(grown, shape, side, look, lowest))
    if look.kind == "sandal":
        for number in range(3):
            strap = strap_shell(number, side)
            rest = strap.offset(shape.rest, 0.003)
            components.append(
                Component(f"shoe.{side}", strap.surface, Skinned(rest, strap.weights), strap.canonical, look.upper)
            )
        return components
    shell = foot_shell(look.kind, side)
    edge = smoothstep(shell.field, 0.0, 0.012)
    rest = shell.offset(shape.rest, look.room_m * (0.5 + 0.5 * edge) + 0.002 * (look.kind == "boot"), 1)
    rest = _toe_box(rest, shape, side, look.pointed)
    rest[:, 2] = np.maximum(rest[:, 2], lowest - 0.001)
    covers = covered_skin(look.kind, side)
    name = f"shoe.{side}"
    components.append(Covering(name, shell.surface, Skinned(rest, shell.weights), shell.canonical, look.upper, covers))
    if look.laced:
        components.append(_laces(rest, shell, side, look))
    if look.sock:
        sock = sock_shell(look.sock, look.kind, side)
        rest = sock.offset(shape.rest, 0.0015 + 0.001 * smoothstep(sock.field, 0.0, 0.02))
        sock_covers = covered_skin(look.sock, side)
        carrier = Skinned(rest, sock.weights)
        components.append(Covering(f"sock.{side}", sock.surface, carrier, sock.canonical, look.sock_cloth, sock_covers))
    return components


def _lowest(shape: Shape, side: str) -> float:
    """Return the height of the bare sole."""
    return float((foot_shell("low", side).matrix @ shape.rest)[:, 2].min()) + 0.003


def _toe_box(points: FloatArray, shape: Shape, side: str, amount: float) -> FloatArray:
    """Give room over the toes, and narrow the toe box."""
    foot = shape.joints[f"foot.{side}"]
    toe = points[:, 1].min()
    share = smoothstep(points[:, 1], toe + 0.075, toe)
    middle = points[share > 0.3, 0].mean() if (share > 0.3).any() else foot[0]
    result = points.copy()
    result[:, 0] = middle + (points[:, 0] - middle) * (1 - 0.35 * amount * share)
    result[:, 1] -= 0.018 * amount * share
    # Shoes are higher over the toes than the tights' flat feet, blunt ones most.
    bottom = points[:, 2].min()
    top = smoothstep(points[:, 2], bottom + 0.012, bottom + 0.035)
    result[:, 2] += 0.010 * (1 - 0.6 * amount) * top * smoothstep(points[:, 1], toe + 0.10, toe + 0.03)
    return result


def _sole(grown: FloatArray, shape: Shape, side: str, look: _Look, lowest: float) -> Component:
    """Build a slab with a rounded edge under the outline of the shoe, thicker at the heel."""
    grown = _toe_box(grown, shape, side, look.pointed)
    low = grown[grown[:, 2] < lowest + 0.045]
    toe, heel = low[:, 1].min(), low[:, 1].max()
    # Two circles' worth of directions about ball and heel follow the waist of the outline roughly.
    turn = 2 * np.pi * np.arange(_ANGLES) / _ANGLES
    direction = np.stack([np.sin(turn), np.cos(turn)], axis=1)
    centre = np.array([low[:, 0].mean(), (toe + heel) / 2])
    flat = low[:, :2] - centre
    bearing = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    near = bearing @ direction.T > np.cos(np.radians(6))
    reach = np.where(near, np.linalg.norm(flat, axis=1)[:, None], 0.02).max(0)
    reach = np.maximum(reach, 0.5 * (np.roll(reach, 1) + np.roll(reach, -1)))
    reach = 0.25 * np.roll(reach, 1) + 0.5 * reach + 0.25 * np.roll(reach, -1) + look.welt_m
    outline = centre + direction * reach[:, None]
    forward = (heel - outline[:, 1]) / (heel - toe)
    spring = 0.010 * smoothstep(forward, 0.72, 1.0)
    top = lowest + 0.010 + 0.5 * spring
    bottom = lowest - look.sole_m * (0.75 + 0.35 * smoothstep(forward, 0.55, 0.25)) + spring
    if look.kind in ("low", "boot") and look.pointed > 0.3:
        bottom = bottom - 0.010 * (forward < 0.3)
    rings = []
    for inset, height in ((0.012, 1.0), (0.0, 1.0), (-0.002, 0.75), (-0.002, 0.3), (0.002, 0.05), (0.006, 0.0)):
        xy = centre + direction * (reach - inset)[:, None]
        rings.append(np.column_stack([xy, bottom + (top - bottom) * height]))
    for share in (0.66, 0.33, 0.02):
        xy = centre + (rings[5][:, :2] - centre) * share
        rings.append(np.column_stack([xy, np.interp(xy[:, 1], *_sorted(outline[:, 1], bottom))]))
    points = np.concatenate(rings)
    surface = surface_of(grid_faces(len(rings), _ANGLES, True)[:, ::-1], len(points))
    return Component(f"sole.{side}", surface, Rigid(points, f"foot.{side}"), points, look.sole)


def _sorted(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    order = np.argsort(x)
    return x[order], y[order]


def _laces(rest: FloatArray, shell: Shell, side: str, look: _Look) -> Component:
    """Build short bars across the instep."""
    rows = lace_rows(look.kind, side)
    bars: list[Mesh] = []
    normals = shell.surface.normals(rest)
    for row in rows:
        path = rest[row] + normals[row] * 0.0010
        share = np.linspace(0, 1, 6)
        bent = np.polynomial.Polynomial.fit(path[:, 0], path[:, 2], 2)
        x = path[0, 0] + (path[-1, 0] - path[0, 0]) * share
        bars.append(tube(np.stack([x, np.full(6, path[:, 1].mean()), bent(x)], axis=1), 0.0022, 5))
    vertices, faces = joined(bars)
    return Component(
        f"shoe.{side}", surface_of(faces, len(vertices)), Rigid(vertices, f"foot.{side}"), vertices, look.lace
    )
