import { fillModels, nameOf } from "./models.js";
import { compareSides, sides, showMesh, showPhoto, showSide, startResult } from "./results.js";
import { busy, get, post } from "./service.js";

let people = [];  // boxes of the photograph's people, as of the answer without a box
let chosen = 0;  // which of them is shown

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

// Choosing models

fillModels();
get("key").addEventListener("change", fillModels);
for (const select of [get("model"), get("other")]) {
  select.addEventListener("change", () => {
    if (inputOf("image").files.length) compute(people.length > 1 ? chosen : null);
  });
}

// Computing

get("form").addEventListener("submit", (event) => {
  event.preventDefault();
  compute();
});

let latest = 0;  // number of the last computation: answers of earlier ones come too late

// Computes the first person that the model finds, or another one of those found.
async function compute(person = null) {
  const number = ++latest, isWanted = () => number === latest, other = get("other").value;
  const ids = other ? [get("model").value, other] : [get("model").value];
  let ready = 0;  // models whose maps are shown
  await busy("Working …", async () => {
    const form = filledIn(get("form"));
    if (person === null) get("result").hidden = true;
    else form.append("box", people[person].join(","));
    for (const [i, id] of ids.entries()) {
      if (!await computeSide(sides[i], withModel(form, id), person, isWanted)) return;
      ready += 1;
      // The other model gets the same person.
      if (people.length && !form.has("box")) form.append("box", people[0].join(","));
    }
    if (other) compareSides(ids.map(nameOf));
  });
  for (const side of sides.slice(0, ready)) await showMesh(side, isWanted);
}

async function computeSide(side, form, person, isWanted) {
  const start = performance.now(), body = await post(form, "application/json", isWanted);
  if (!body || !isWanted()) return false;
  const isFirst = side === sides[0];
  if (person === null && (isFirst || !people.length)) people = body.people;  // two hourglasses tell none
  chosen = person ?? 0;
  if (isFirst) startResult();
  showPhoto(form.get("image"), people, chosen, compute);
  const seconds = (performance.now() - start) / 1000;
  await showSide(side, form, body, seconds);
  get("state").textContent = `Done in ${seconds.toFixed(1)} s`;
  return isWanted();
}

// The form without its empty fields.
function filledIn(form) {
  const filled = new FormData();
  for (const [name, value] of new FormData(form)) {
    if (value instanceof File ? value.name || value.size : value) filled.append(name, value);
  }
  return filled;
}

function withModel(form, id) {
  const copy = new FormData();
  for (const [name, value] of form) if (name !== "model") copy.append(name, value);
  if (id) copy.append("model", id);
  return copy;
}
