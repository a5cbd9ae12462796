import { decodeDepth, depthAt, drawConfidence, drawDepth, drawNormals, drawScales } from "./depth.js";
import { drawMesh } from "./mesh.js";
import { showPeople } from "./people.js";

const get = (id) => document.getElementById(id);
const TITLES = {
  missing_part: "A picture is missing", missing_densepose: "The DensePose map is missing", empty_part: "A file is empty",
  size_mismatch: "The pictures do not fit together",
  not_a_picture: "This file is not a picture", damaged_picture: "This picture is damaged",
  unsupported_format: "This kind of file cannot be read",
  unusable_picture: "This picture cannot be used", picture_too_small: "This picture is too small",
  too_many_pixels: "This picture is too large", body_too_large: "These files are too large",
  no_person: "No person found", unusable_box: "No person in this box",
  empty_mask: "The mask is empty", mask_covers_nothing: "The mask covers nothing of the picture",
  mask_inverted: "The mask seems inverted", mask_all_white: "The mask is white all over",
  mask_contradicts_picture: "Mask and photograph do not fit together",
  mask_misses_person: "Mask and DensePose map do not overlap", no_densepose_parts: "The DensePose map is empty",
  several_people: "The DensePose map shows several people", several_silhouettes: "The mask shows several people",
  height_unseen: "The height does not help here", height_out_of_range: "Nobody has this height",
  missing_api_key: "This service asks for a key", wrong_api_key: "This key is wrong",
  no_model: "The service has no model yet", queue_full: "The service is busy", too_slow: "The request timed out",
};
const SCALES = {
  height: "from the height given", estimated: "estimated", assumed: "assumed: a photograph alone does not show it",
};
const CAMERAS = {
  given: "as given", fov: "by the field of view given", exif: "from the photograph", assumed: "assumed",
};
const NARROW_PX = 640;
const FOUND = { given: "given", transparency: "the photograph's transparency", found: "found", unused: "not needed" };

let sent = null;  // the form of the result on the page
let people = [];  // boxes of the photograph's people, as of the answer without a box
const files = {};  // results by file name, as blobs

// Choosing files

for (const zone of document.querySelectorAll(".drop")) {
  const input = zone.querySelector("input"), preview = zone.querySelector("img");
  preview.addEventListener("error", () => { preview.hidden = true; });
  input.addEventListener("change", () => {
    const file = input.files[0];
    URL.revokeObjectURL(preview.src);
    preview.hidden = !file;
    if (file) preview.src = URL.createObjectURL(file);
    if (file && input.name === "image") compute();
  });
  zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    choose(input, event.dataTransfer.files);
  });
}

function choose(input, list) {
  if (!list.length) return;
  input.files = list;
  input.dispatchEvent(new Event("change"));
}

const inputOf = (name) => get("form").elements[name];

get("take").hidden = !navigator.maxTouchPoints;
get("camera").addEventListener("change", (event) => choosePhoto(event.target.files));

document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) choosePhoto(event.clipboardData.files);
});

// A photograph alone: mask and map of the one before do not belong to it.
function choosePhoto(list) {
  clear("mask", "densepose");
  choose(inputOf("image"), list);
}

function clear(...names) {
  for (const name of names) {
    inputOf(name).value = "";
    inputOf(name).dispatchEvent(new Event("change"));
  }
}

async function fetched(name, type) {
  const answer = await fetch(`page/sample/${name}`), list = new DataTransfer();
  list.items.add(new File([await answer.blob()], name, { type }));
  return list.files;
}

for (const button of document.querySelectorAll("[data-sample]")) {
  button.addEventListener("click", () => busy("Fetching the sample …", async () => {
    inputOf("fov_deg").value = inputOf("height_m").value = "";
    return fetched(`${button.dataset.sample}.jpg`, "image/jpeg");
  }).then(choosePhoto));
}

get("sample").addEventListener("click", () => busy("Fetching the sample …", async () => {
  inputOf("densepose_order").value = "vui";
  inputOf("fov_deg").value = inputOf("height_m").value = "";
  for (const name of ["mask", "densepose"]) choose(inputOf(name), await fetched(`${name}.png`, "image/png"));
  return fetched("image.png", "image/png");
}).then((list) => choose(inputOf("image"), list)));

// Computing

get("form").addEventListener("submit", (event) => {
  event.preventDefault();
  compute();
});

let latest = 0;  // number of the last computation: answers of earlier ones come too late

async function compute(box = null) {
  const number = ++latest;
  await busy("Working …", async () => {
    const start = performance.now(), form = filledIn(get("form"));
    if (box) form.append("box", people[box.index].join(","));
    else get("result").hidden = true;
    const answer = await post(form, "application/json", () => number === latest);
    if (!answer) return;
    const body = await answer.json();
    if (number !== latest) return;
    sent = form;
    if (!box) people = body.people;
    await show(body, (performance.now() - start) / 1000, form.get("image"), box ? box.index : 0);
    await showMesh(() => number === latest);
  });
}

// The form without its empty fields.
function filledIn(form) {
  const filled = new FormData();
  for (const [name, value] of new FormData(form)) {
    if (value instanceof File ? value.name || value.size : value) filled.append(name, value);
  }
  return filled;
}

async function post(form, type, isWanted = () => true) {
  const headers = { Accept: type }, key = get("key").value;
  if (key) headers["X-API-Key"] = key;
  let answer;
  try {
    answer = await fetch("depth", { method: "POST", body: form, headers });
  } catch {
    if (isWanted()) showProblem("The service cannot be reached", "Is it still running? Try again in a moment.", "");
    return null;
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  if (isWanted()) {
    showProblem(TITLES[problem.code] || problem.title || `Error ${answer.status}`,
                problem.detail || "The service gave no reason.", problem.request_id);
    if (/api_key$/.test(problem.code)) get("options").open = true;
  }
  return null;
}

let tasks = 0;

async function busy(text, work) {
  tasks += 1;
  for (const button of document.querySelectorAll("button")) button.disabled = true;
  get("state").textContent = text;
  get("problem").hidden = true;
  try {
    return await work();
  } finally {
    tasks -= 1;
    if (!tasks) {
      get("state").textContent = "";
      for (const button of document.querySelectorAll("button")) button.disabled = button.dataset.missing === "true";
    }
  }
}

function showProblem(title, detail, id) {
  get("problem-title").textContent = title;
  get("problem-detail").textContent = detail;
  get("problem-id").textContent = id ? `Request ${id}` : "";
  get("problem").hidden = false;
}

// Showing

const bytesOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

async function show(body, seconds, photo, chosen) {
  for (const name of Object.keys(files)) delete files[name];
  const { depth_png, normals_png, confidence_png, mask_png, ...figures } = body;
  const pictures = { depth: depth_png, normals: normals_png, confidence: confidence_png, mask: mask_png };
  for (const [name, png] of Object.entries(pictures)) {
    if (png) files[`${name}.png`] = new Blob([bytesOf(png)], { type: "image/png" });
  }
  files["figures.json"] = new Blob([JSON.stringify(figures, null, 2)], { type: "application/json" });
  get("result").hidden = false;
  if (innerWidth < NARROW_PX) get("result").scrollIntoView({ behavior: "smooth" });
  await showMaps(body);
  showPhoto(photo, chosen);
  showFigures(body, seconds);
  const button = document.querySelector("[data-name='confidence.png']");
  button.dataset.missing = String(!confidence_png);
}

async function showMaps(body) {
  const depth = await decodeDepth(bytesOf(body.depth_png)), canvas = get("depth");
  drawDepth(canvas, depth, body.depth.min * 1000, body.depth.max * 1000);
  drawScales(get("scale"), get("confidence-scale"));
  get("near").textContent = `near ${body.depth.min.toFixed(2)} m`;
  get("far").textContent = `${body.depth.max.toFixed(2)} m far`;
  canvas.onpointermove = (event) => {
    const millimetres = depthAt(canvas, depth, event);
    get("here").textContent = millimetres ? `${(millimetres / 1000).toFixed(3)} m` : "";
  };
  get("confidence-card").hidden = !files["confidence.png"];
  await drawNormals(get("normals"), files["normals.png"], depth);
  if (files["confidence.png"]) await drawConfidence(get("confidence"), files["confidence.png"], depth);
}

function showPhoto(photo, chosen) {
  const image = get("picture");
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(photo);
  showPeople(get("people"), image, people, chosen, (index) => compute({ index }));
  get("people-state").textContent = people.length > 1 ? `${people.length} people: tap the one you mean` : "";
}

async function showMesh(isWanted) {
  get("mesh-state").textContent = "Fetching the mesh …";
  const answer = await post(sent, "model/gltf-binary", isWanted);
  if (!answer) {
    get("mesh-state").textContent = "No mesh";
    return;
  }
  const mesh = await answer.blob();
  if (!isWanted()) return;
  files["person.glb"] = mesh;
  try {
    await drawMesh(get("mesh"), mesh);
    get("mesh-state").textContent = "Drag to turn, scroll or pinch to zoom";
  } catch {  // no WebGL
    get("mesh-state").textContent = "This browser cannot show the mesh; the file can be downloaded";
  }
}

for (const button of document.querySelectorAll("button[data-name]")) {
  button.addEventListener("click", () => busy("Preparing the file …", async () => {
    const { name, type } = button.dataset;
    if (!files[name]) {
      const answer = await post(sent, type);
      if (!answer) return;
      files[name] = await answer.blob();
    }
    const link = document.createElement("a");
    link.href = URL.createObjectURL(files[name]);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }));
}

function showFigures(body, seconds) {
  const model = body.model, metres = (value) => `${value.toFixed(3)} m`;
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
  get("figures").replaceChildren(...rows.flatMap(([name, value]) => {
    const term = document.createElement("dt"), text = document.createElement("dd");
    term.textContent = name;
    text.textContent = value;
    return [term, text];
  }));
}
