// The models that a request may choose, as two lists: the one that answers, and another to compare it with.

import { get, listModels } from "./service.js";

let models = [];

const labelOf = ({ name, version, alias }) => version
  ? `${name} version ${version}${alias ? ` (${alias})` : ""}`
  : name === "shipped" ? "shipped with the package" : name;

// Name of a model by its id; of none that in service.
export function nameOf(id) {
  const found = models.find((model) => (id ? model.id === id : model.in_service));
  return found ? labelOf(found) : id || "in service";
}

export async function fillModels() {
  models = await listModels();
  get("models").hidden = models.length < 2;
  fill(get("model"), [["", `${nameOf("")}, in service`], ...models.filter((model) => !model.in_service).map(entry)]);
  fill(get("other"), [["", "no other model"], ...models.map(entry)]);
}

const entry = (model) => [model.id, labelOf(model)];

function fill(select, entries) {
  const value = select.value;
  select.replaceChildren(...entries.map(([id, text]) => new Option(text, id)));
  select.value = entries.some(([id]) => id === value) ? value : "";
}
