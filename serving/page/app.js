import { decodeDepth, depthAt, drawDepth, drawScale } from "./depth.js";
import { drawMesh } from "./mesh.js";

const get = (id) => document.getElementById(id);
const TITLES = {
  missing_part: "A picture is missing", empty_part: "A file is empty",
  size_mismatch: "The pictures do not fit together",
  not_a_picture: "This file is not a picture", damaged_picture: "This picture is damaged",
  unusable_picture: "This picture cannot be used",
  too_many_pixels: "This picture is too large", body_too_large: "These files are too large",
  empty_mask: "The mask is empty", mask_covers_nothing: "The mask covers nothing of the picture",
  mask_misses_person: "Mask and DensePose map do not overlap", no_densepose_parts: "The DensePose map is empty",
  several_people: "The DensePose map shows several people",
  no_model: "The service has no model yet", queue_full: "The service is busy", too_slow: "The request timed out",
};

let sent = null;  // the form of the result on the page
const files = {};  // its results by file name, as blobs

for (const zone of document.querySelectorAll(".drop")) {
  const input = zone.querySelector("input"), preview = zone.querySelector("img");
  preview.addEventListener("error", () => { preview.hidden = true; });
  input.addEventListener("change", () => {
    const file = input.files[0];
    URL.revokeObjectURL(preview.src);
    preview.hidden = !file;
    if (file) preview.src = URL.createObjectURL(file);
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
  input.files = list;
  input.dispatchEvent(new Event("change"));
}

get("sample").addEventListener("click", () => busy("Fetching the sample …", async () => {
  for (const input of get("form").querySelectorAll("input[type=file]")) {
    const answer = await fetch(`page/sample/${input.name}.png`);
    const list = new DataTransfer();
    list.items.add(new File([await answer.blob()], `${input.name}.png`, { type: "image/png" }));
    choose(input, list.files);
  }
  get("form").elements.densepose_order.value = "vui";
  get("form").elements.fov_deg.value = "";
}));

get("form").addEventListener("submit", (event) => {
  event.preventDefault();
  busy("Working …", async () => {
    const start = performance.now(), form = filledIn(get("form"));
    get("result").hidden = true;
    const answer = await post(form, "application/json");
    if (!answer) return;
    const body = await answer.json();
    sent = form;
    await show(body, (performance.now() - start) / 1000);
    await showMesh();
  });
});

// The form without its empty fields.
function filledIn(form) {
  const filled = new FormData();
  for (const [name, value] of new FormData(form)) {
    if (value instanceof File ? value.name || value.size : value) filled.append(name, value);
  }
  return filled;
}

async function post(form, type) {
  const headers = { Accept: type }, key = get("key").value;
  if (key) headers["X-API-Key"] = key;
  let answer;
  try {
    answer = await fetch("depth", { method: "POST", body: form, headers });
  } catch {
    showProblem("The service cannot be reached", "Is it still running? Try again in a moment.", "");
    return null;
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  showProblem(TITLES[problem.code] || problem.title || `Error ${answer.status}`,
              problem.detail || "The service gave no reason.", problem.request_id);
  return null;
}

async function busy(text, work) {
  for (const button of document.querySelectorAll("button")) button.disabled = true;
  get("state").textContent = text;
  get("problem").hidden = true;
  try {
    await work();
  } finally {
    get("state").textContent = "";
    for (const button of document.querySelectorAll("button")) button.disabled = false;
  }
}

function showProblem(title, detail, id) {
  get("problem-title").textContent = title;
  get("problem-detail").textContent = detail;
  get("problem-id").textContent = id ? `Request ${id}` : "";
  get("problem").hidden = false;
}

async function show(body, seconds) {
  const bytes = Uint8Array.from(atob(body.depth_png), (letter) => letter.charCodeAt(0));
  for (const name of Object.keys(files)) delete files[name];
  files["depth.png"] = new Blob([bytes], { type: "image/png" });
  const depth = await decodeDepth(bytes), canvas = get("depth");
  drawDepth(canvas, depth, body.depth.min * 1000, body.depth.max * 1000);
  drawScale(get("scale"));
  get("near").textContent = `near ${body.depth.min.toFixed(2)} m`;
  get("far").textContent = `${body.depth.max.toFixed(2)} m far`;
  canvas.onmousemove = (event) => {
    const millimetres = depthAt(canvas, depth, event);
    get("here").textContent = millimetres ? `${(millimetres / 1000).toFixed(3)} m` : "";
  };
  get("normals").src = `data:image/png;base64,${body.normals_png}`;
  showFigures(body, seconds);
  get("result").hidden = false;
}

async function showMesh() {
  get("mesh-state").textContent = "Fetching the mesh …";
  const answer = await post(sent, "model/gltf-binary");
  if (!answer) {
    get("mesh-state").textContent = "No mesh";
    return;
  }
  files["person.glb"] = await answer.blob();
  try {
    await drawMesh(get("mesh"), files["person.glb"]);
    get("mesh-state").textContent = "Drag to turn, scroll to zoom";
  } catch {  // no WebGL
    get("mesh-state").textContent = "This browser cannot show the mesh; the file can be downloaded";
  }
}

for (const button of document.querySelectorAll("button[data-name]")) {
  button.addEventListener("click", () => busy("Preparing the file …", async () => {
    const { name, type } = button.dataset;
    if (!files[name]) {
      const answer = await post(sent, type || "model/gltf-binary");
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
    ["Nearest", metres(body.depth.min)], ["Median", metres(body.depth.median)], ["Farthest", metres(body.depth.max)],
    ["Person", `${body.depth.mask_pixels.toLocaleString()} pixels of ${body.size.width} × ${body.size.height}`],
    ["Model", [model.name, model.version && `version ${model.version}`, model.alias].filter(Boolean).join(", ")],
    ["Run", model.run_id || "none"], ["Time", `${seconds.toFixed(1)} s`], ["Request", body.request_id],
  ];
  get("figures").replaceChildren(...rows.flatMap(([name, value]) => {
    const term = document.createElement("dt"), text = document.createElement("dd");
    term.textContent = name;
    text.textContent = value;
    return [term, text];
  }));
}
