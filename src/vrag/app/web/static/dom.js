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

/** A score; that of words that most pages have is next to nothing, and not nothing. */
export const points = (value) => (value > 0 && value < 0.005 ? "< 0.01" : number(value));

/** The options of a select: texts, or pairs of value and text. Keeps what was chosen where it is still there. */
export function options(select, choices, chosen = select.value) {
  const pairs = choices.map((one) => (Array.isArray(one) ? one : [one, one]));
  select.replaceChildren(...pairs.map(([value, text]) => el("option", { value, textContent: text })));
  select.value = pairs.some(([value]) => value === chosen) ? chosen : (pairs[0]?.[0] ?? "");
}

/** Say what went wrong, above everything, until it is closed or another view is opened. */
export function alertUser(text) {
  $("alert-text").textContent = text;
  $("alert").hidden = false;
}

export const quiet = () => ($("alert").hidden = true);

export const count = (many, noun) => `${many.toLocaleString()} ${noun}${many === 1 ? "" : "s"}`;

/** The name of a document without its folder, and the folder. */
export const fileOf = (name) => name.slice(name.lastIndexOf("/") + 1);
export const folderOf = (name) => name.slice(0, Math.max(0, name.lastIndexOf("/")));

/** A text as nodes, in which the words of `found` are marked. */
export const marked = (text, found) => text.split(/(\s+)/).map((word) => (found.has(word) ? el("mark", {}, word) : word));

/** A heading of a few lines, and what shows the rest of it where there is one. */
export function heading(text) {
  const title = el("h1", { class: "clamped" }, foreign(text));
  const more = el("button", { type: "button", class: "more", hidden: true, "aria-expanded": "false", onclick: turn }, "Show all");
  function turn() {
    const all = !title.classList.toggle("clamped");
    more.setAttribute("aria-expanded", String(all));
    more.textContent = all ? "Show less" : "Show all";
  }
  new ResizeObserver(() => {
    if (title.classList.contains("clamped")) more.hidden = title.scrollHeight <= title.clientHeight + 2;
  }).observe(title);
  return [title, more];
}
