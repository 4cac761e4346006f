// The events of an episode → what a person sees of it: thought, query, pages found, page, box, crop, answer.

import { el, fileOf, foreign, number, points, where } from "./dom.js";
import { frame, picture, sheet } from "./pictures.js";
import { openPage } from "./viewer.js";

const SHOWN = 10; // hits before the rest is asked for
const STOPS = {
  answer: "answered",
  turns: "ended: its steps are spent",
  length: "ended: its tokens are spent",
  pixels: "ended: its pixels are spent",
  invalid: "ended: too many invalid actions",
  error: "failed",
  cancelled: "stopped by you",
};

/** Steps in `list`, drawn as events come. `golds`: pairs of page name and box, drawn on the pages. */
export class Steps {
  constructor(list, golds = []) {
    this.list = list;
    this.golds = golds;
    this.looked = new Map(); // page id → place, in the order in which they were shown
    this.thumbs = new Map();
    this.sheets = new Map();
    this.query = "";
  }

  add(event) {
    const draw = this[`on_${event.type}`];
    return draw ? draw.call(this, event) : undefined;
  }

  /** What to tell who can't see it. */
  static spoken(event) {
    const said = {
      step: () => `Step ${event.step}`,
      query: () => `Searching: ${event.query}`,
      found: () => `${event.hits.length} pages found`,
      action: () => `${event.name}: ${event.content}`,
      page: () => `Looking at ${where(event.page)}`,
      crop: () => `Looking closer at ${where(event.page)}`,
      invalid: () => `Invalid action: ${event.reason}`,
      message: () => event.text,
      answer: () => (event.found === false ? event.text : `Answer: ${event.text}`),
      error: () => event.message,
      stop: () => STOPS[event.reason] ?? event.reason,
    }[event.type];
    return said ? said() : null;
  }

  on_step({ step }) {
    this.turn(step);
  }

  on_thought({ step, text }) {
    this.said(step, el("p", { class: "thought" }, foreign(text)));
  }

  on_query({ step, query }) {
    this.query = query;
    this.said(step, action("search", el("q", {}, foreign(query))));
  }

  on_found({ step, hits }) {
    const strip = el("ol", { class: "thumbs", "aria-label": "Pages found" });
    const rest = hits.slice(SHOWN);
    strip.append(...hits.slice(0, SHOWN).map((hit, index) => this.thumb(hit, index)));
    if (rest.length) {
      const more = el("li", {}, el("button", { type: "button", onclick: () => more.replaceWith(...rest.map((hit, i) => this.thumb(hit, SHOWN + i))) }, `${rest.length} more`));
      strip.append(more);
    }
    this.said(step, strip);
  }

  on_page({ step, page, score, shown }) {
    this.looked.set(page.page_id, page);
    this.thumbs.get(page.page_id)?.classList.add("shown");
    const boxes = this.golds.filter(([name]) => name === where(page)).map(([, box]) => [box, "gold"]);
    const note = [shown === "text" ? "read as text" : null, score === null ? null : `score ${points(score)}`].filter(Boolean).join(" · ");
    const shownAs = sheet(page, boxes, 420, () => openPage(page, boxes));
    this.sheets.set(page.page_id, { boxes, frame: shownAs.firstChild });
    this.picture(step, shownAs, page, note);
  }

  on_box({ step, written }) {
    const edges = [written.x1, written.y1, written.x2, written.y2].map((edge) => number(edge, 3)).join(", ");
    this.said(step, action("crop", el("span", { class: "soft" }, `[${edges}]`)));
  }

  on_action({ step, name, content }) {
    this.said(step, action(foreign(name), el("q", {}, foreign(content))));
  }

  on_crop({ step, page, box, crop }) {
    const boxes = [[box, "cut"]];
    const open = () => openPage(page, boxes);
    const whole = this.sheets.get(page.page_id);
    whole?.boxes.push([box, "cut"]);
    whole?.frame.append(frame(box, "cut"));
    const part = el("button", { type: "button", class: "part", "aria-label": `Open ${where(page)} at the box`, onclick: open }, picture(crop, `Part of ${where(page)}`, 560));
    const pair = el("div", { class: "pair" }, sheet(page, boxes, 160, open), part);
    this.picture(step, pair, page, "seen larger");
  }

  on_message({ step, text }) {
    this.said(step, el("p", { class: "reply" }, foreign(text)));
  }

  on_invalid({ step, reason, text }) {
    this.said(step, action("invalid", foreign(reason), "invalid"), text ? el("pre", {}, text) : null);
  }

  on_answer({ text }) {
    const step = Math.max(0, ...[...this.list.children].map((one) => one.value));
    this.said(step, action("answer", foreign(text)));
  }

  turn(step) {
    const found = [...this.list.children].find((one) => one.value === step);
    if (found) return found;
    const made = el("li", { class: "turn" }, el("div", { class: "said" }), el("div", { class: "seen" }));
    made.value = step;
    made.dataset.step = step || "·";
    this.list.append(made);
    return made;
  }

  said(step, ...children) {
    this.turn(step).querySelector(".said").append(...children.filter(Boolean));
  }

  picture(step, shown, place, note) {
    const caption = el("figcaption", {}, foreign(where(place)), note ? ` · ${note}` : "");
    this.turn(step).querySelector(".seen").append(el("figure", {}, shown, caption));
  }

  thumb(hit, index) {
    const { query } = this;
    const open = () => openPage(hit, [], query);
    const found = Object.entries(hit.ranks).map(([way, rank]) => `${way} ${rank}`).join(", ");
    const title = `${where(hit)} · score ${points(hit.score)}${found ? ` · ${found}` : ""}`;
    const made = el(
      "li",
      {},
      el("button", { type: "button", title, "aria-label": `Open ${where(hit)}`, onclick: open }, picture(hit.image, where(hit), 110), el("span", {}, `${index + 1}. `, foreign(fileOf(hit.document))), el("span", { class: "soft" }, `page ${hit.page}`)),
    );
    if (!this.thumbs.has(hit.page_id)) this.thumbs.set(hit.page_id, made);
    return made;
  }
}

const action = (name, what, kind = "") => el("p", { class: `action ${kind}` }, el("b", {}, name), what);

/** A link to where an answer stands. */
export function citation(place, kind = "cut") {
  const boxes = place.box ? [[place.box, kind]] : [];
  return el("button", { type: "button", class: "citation", onclick: () => openPage(place, boxes) }, foreign(where(place)));
}

/** Why an episode ended, in words; `answer` is its event, if there was one. */
export const ending = (stop, answer) => (answer?.found === false ? "not found" : (STOPS[stop.reason] ?? stop.reason));

/** The line below an episode: why it ended, and what it cost. */
export function outcome(stop, spent, answer) {
  const tokens = spent ? spent.prompt_tokens + spent.completion_tokens : 0;
  const said = [ending(stop, answer), stop.steps === undefined ? null : `${stop.steps} steps`, stop.seconds === undefined ? null : `${number(stop.seconds)} s`, tokens ? `${tokens} tokens, of them ${spent.completion_tokens} written` : null];
  return el("p", { class: "outcome soft" }, said.filter(Boolean).join(" · "));
}
