// Requests to the service, and its problems in words.

export const get = (id) => document.getElementById(id);

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
  unknown_model: "This model is no longer there",
  no_model: "The service has no model yet", queue_full: "The service is busy", too_slow: "The request timed out",
};

function headers(type) {
  const key = get("key").value;
  return key ? { Accept: type, "X-API-Key": key } : { Accept: type };
}

// The content of an answer to a form, read as JSON or as a blob; null if there is none, which the page then tells.
export async function post(form, type, isWanted = () => true) {
  let answer;
  try {
    answer = await fetch("depth", { method: "POST", body: form, headers: headers(type) });
    if (answer.ok) return await (type === "application/json" ? answer.json() : answer.blob());
  } catch {
    const broken = answer ? "The answer broke off" : "The service cannot be reached";
    if (isWanted()) showProblem(broken, "Is the network there, and the service running? Try again in a moment.", "");
    return null;
  }
  const problem = await answer.json().catch(() => ({}));
  if (isWanted()) {
    showProblem(TITLES[problem.code] || problem.title || `Error ${answer.status}`,
                problem.detail || "The service gave no reason.", problem.request_id);
    if (/api_key$/.test(problem.code)) get("options").open = true;
  }
  return null;
}

// The models that a request may choose; none where the service does not tell.
export async function listModels() {
  try {
    const answer = await fetch("models", { headers: headers("application/json") });
    return answer.ok ? (await answer.json()).models : [];
  } catch {
    return [];
  }
}

function showProblem(title, detail, id) {
  get("problem-title").textContent = title;
  get("problem-detail").textContent = detail;
  get("problem-id").textContent = id ? `Request ${id}` : "";
  get("problem").hidden = false;
}

let tasks = 0;

// Shows that work is going on, and keeps the buttons from being pressed meanwhile.
export async function busy(text, work) {
  tasks += 1;
  for (const button of document.querySelectorAll("button")) button.disabled = true;
  get("state").textContent = text;
  get("problem").hidden = true;
  try {
    return await work();
  } finally {
    tasks -= 1;
    if (!tasks) {
      if (get("state").textContent === text) get("state").textContent = "";
      for (const button of document.querySelectorAll("button")) button.disabled = button.dataset.missing === "true";
    }
  }
}
