// Elements. All text goes in as text: documents, models and file names can hold markup.

export const $ = (id) => document.getElementById(id);

const PROPERTIES = new Set(["textContent", "value", "hidden", "disabled", "checked", "className", "selected"]);

/** An element; `on…` are listeners. Children are nodes or text; null and undefined are none. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (PROPERTIES.has(name)) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

/** A text of a document or a model, whose reading direction is its own. */
export const foreign = (text) => el("bdi", {}, text);

export const where = (place) => `${place.document}, page ${place.page}`;

export const number = (value, digits = 2) => (value === null || value === undefined ? "" : Number(value.toFixed(digits)).toString());

/** The options of a select: texts, or pairs of value and text. Keeps what was chosen where it is still there. */
export function options(select, choices, chosen = select.value) {
  const pairs = choices.map((one) => (Array.isArray(one) ? one : [one, one]));
  select.replaceChildren(...pairs.map(([value, text]) => el("option", { value, textContent: text })));
  select.value = pairs.some(([value]) => value === chosen) ? chosen : (pairs[0]?.[0] ?? "");
}

let quiet = 0;

/** Say what went wrong, above everything. */
export function alertUser(text) {
  const alert = $("alert");
  alert.textContent = text;
  alert.hidden = false;
  clearTimeout(quiet);
  quiet = setTimeout(() => (alert.hidden = true), 12000);
}
