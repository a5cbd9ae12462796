// The results of one model, or of two side by side: maps, mesh, figures, files.

import { meanDifference } from "./difference.js";
import { decodeDepth, depthAt, drawConfidence, drawDepth, drawNormals, drawScales } from "./depth.js";
import { clearMesh, drawMesh } from "./mesh.js";
import { showPeople } from "./people.js";
import { busy, get, post } from "./service.js";

const NARROW_PX = 640;
const SCALES = {
  height: "from the height given", estimated: "estimated", assumed: "assumed: a photograph alone does not show it",
};
const CAMERAS = {
  given: "as given", fov: "by the field of view given", exif: "from the photograph", assumed: "assumed",
};
const FOUND = { given: "given", transparency: "the photograph's transparency", found: "found", unused: "not needed" };

// The form that was sent, its answer, and files of it by name, of the model and of the other one.
export const sides = ["", "-other"].map((suffix) => ({ suffix, files: {} }));

const element = (side, name) => get(name + side.suffix);
const bytesOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

export function startResult() {
  for (const other of document.querySelectorAll(".other")) other.hidden = true;
  for (const name of document.querySelectorAll(".model-name")) name.textContent = "";
  get("difference").textContent = "";
  clearMesh(element(sides[1], "mesh"));
  const wasHidden = get("result").hidden;
  get("result").hidden = false;
  if (wasHidden && innerWidth < NARROW_PX) get("result").scrollIntoView({ behavior: "smooth" });
}

export function showPhoto(photo, people, chosen, choose) {
  const image = get("picture");
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(photo);
  showPeople(get("people"), image, people, chosen, choose);
  get("people-state").textContent = people.length > 1 ? `${people.length} people: tap the one you mean` : "";
}

export async function showSide(side, form, body, seconds) {
  const { depth_png, normals_png, confidence_png, mask_png, ...figures } = body;
  const pictures = { depth: depth_png, normals: normals_png, confidence: confidence_png, mask: mask_png };
  side.form = form;
  side.body = body;
  side.files = { "figures.json": new Blob([JSON.stringify(figures, null, 2)], { type: "application/json" }) };
  side.prefix = "";
  for (const [name, png] of Object.entries(pictures)) {
    if (png) side.files[`${name}.png`] = new Blob([bytesOf(png)], { type: "image/png" });
  }
  side.depth = await decodeDepth(bytesOf(depth_png));
  await showMaps(side);
  showFigures(side, seconds);
  const button = element(side, "files").querySelector("[data-name='confidence.png'], [data-other='confidence.png']");
  button.dataset.missing = String(!confidence_png);
}

async function showMaps(side) {
  const { min, max } = side.body.depth, canvas = element(side, "depth");
  drawDepth(canvas, side.depth, min * 1000, max * 1000);
  drawScales(get("scale"), get("confidence-scale"));
  get("near").textContent = `near ${min.toFixed(2)} m`;
  get("far").textContent = `${max.toFixed(2)} m far`;
  canvas.onpointermove = (event) => {
    const millimetres = depthAt(canvas, side.depth, event);
    get("here").textContent = millimetres ? `${(millimetres / 1000).toFixed(3)} m` : "";
  };
  const confidence = side.files["confidence.png"];
  element(side, "confidence").hidden = !confidence;
  if (side === sides[0] || confidence) get("confidence-card").hidden = !confidence;
  side.normals = await drawNormals(element(side, "normals"), side.files["normals.png"], side.depth);
  if (confidence) await drawConfidence(element(side, "confidence"), confidence, side.depth);
}

// Shows the other side, both by one scale about the person's median: models may disagree about the distance.
export function compareSides(names) {
  const reach = Math.max(...sides.map(({ body: { depth } }) =>
    Math.max(depth.median - depth.min, depth.max - depth.median)));
  for (const [i, side] of sides.entries()) {
    const { median } = side.body.depth;
    drawDepth(element(side, "depth"), side.depth, (median - reach) * 1000, (median + reach) * 1000);
    side.prefix = `${(side.body.model.version || side.body.model.name).replace(/[^\w.-]/g, "_")}_`;
    for (const label of document.querySelectorAll(`.model-name[data-side='${i}']`)) label.textContent = names[i];
    for (const map of ["depth", "normals", "confidence", "mesh"]) {
      element(side, map).setAttribute("aria-label", `${map} by ${names[i]}`);
    }
  }
  get("near").textContent = `${reach.toFixed(2)} m nearer than the median`;
  get("far").textContent = `${reach.toFixed(2)} m farther`;
  for (const other of document.querySelectorAll(".other")) other.hidden = false;
  const { share, metres, degrees } = meanDifference(...sides);
  get("difference").textContent = `The masks agree on ${Math.round(100 * share)} % of the person; there depth differs by `
    + `${(100 * metres).toFixed(1)} cm about its median and normals by ${degrees.toFixed(1)}° on average.`;
}

export async function showMesh(side, isWanted) {
  const canvas = element(side, "mesh"), state = element(side, "mesh-state");
  state.textContent = "Fetching the mesh …";
  const mesh = await post(side.form, "model/gltf-binary", isWanted);
  if (!isWanted()) return;
  if (!mesh) {
    state.textContent = "No mesh";
    return;
  }
  side.files["person.glb"] = mesh;
  try {
    await drawMesh(canvas, mesh);
    state.textContent = "Drag to turn, scroll or pinch to zoom; or arrow keys, plus and minus";
  } catch {  // no WebGL
    state.textContent = "This browser cannot show the mesh; the file can be downloaded";
  }
}

function showFigures(side, seconds) {
  const { body } = side, { model } = body, metres = (value) => `${value.toFixed(3)} m`;
  const rows = [
    ["Nearest", metres(body.depth.min)],
    ["Median", `${metres(body.scale.distance_m)}, ${SCALES[body.scale.source]}`],
    ["Farthest", metres(body.depth.max)],
    ["Person", `${body.depth.mask_pixels.toLocaleString()} pixels of ${body.size.width} × ${body.size.height}`],
    ["Mask", FOUND[body.inputs.mask]], ["Body map", FOUND[body.inputs.densepose]],
    ["Camera", `${CAMERAS[body.camera.source]}, focal length ${Math.round(body.camera.fx)} pixels`],
    ["Model", [model.name, model.version && `version ${model.version}`, model.alias].filter(Boolean).join(", ")],
    ["Run", model.run_id || "none"], ["Time", `${seconds.toFixed(1)} s`], ["Request", body.request_id],
    ...body.notes.map((note) => ["Note", note]),
  ];
  element(side, "figures").replaceChildren(...rows.flatMap(([name, value]) => {
    const term = document.createElement("dt"), text = document.createElement("dd");
    term.textContent = name;
    text.textContent = value;
    return [term, text];
  }));
}

// Files

const buttons = get("files").querySelectorAll("button");
get("files-other").append(...[...buttons].map((button) => {
  const copy = button.cloneNode(true);
  copy.dataset.other = copy.dataset.name;
  delete copy.dataset.name;
  return copy;
}));

for (const side of sides) {
  for (const button of element(side, "files").querySelectorAll("button")) {
    button.addEventListener("click", () => busy("Preparing the file …", () => download(side, button.dataset)));
  }
}

async function download(side, { name: own, other, type }) {
  const name = own || other;
  side.files[name] ||= await post(side.form, type);
  if (!side.files[name]) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(side.files[name]);
  link.download = side.prefix + name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
