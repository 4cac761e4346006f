// One episode of a run: what was said and seen, and what it was rewarded for.

import { el, foreign, number } from "./dom.js";
import { citation, outcome, Steps } from "./steps.js";
import { tokenDetails } from "./tokens.js";

/** As an element. `found` is what /v1/runs/episode answers. */
export function trajectory(found, run, verdict) {
  const { row, gold, events } = found;
  const list = el("ol", { class: "steps" });
  const boxes = gold.filter(({ box }) => box).map(({ ref, box }) => [`${ref.document}, page ${ref.page}`, box]);
  const steps = new Steps(list, boxes);
  const by = {};
  for (const event of events) {
    steps.add(event);
    by[event.type] = event;
  }
  const answer = by.answer;
  return el(
    "article",
    { class: "trajectory" },
    el("h2", {}, verdict, " ", run.name),
    el("p", { class: answer && answer.found !== false ? "answer" : "answer none" }, answer ? foreign(answer.text) : el("i", {}, "no answer")),
    answer?.evidence ? el("p", { class: "sources" }, el("span", { class: "soft" }, "Source "), citation(answer.evidence)) : null,
    found.corpus ? null : el("p", { class: "soft" }, `The pages of this run are in ${run.corpus ? `the corpus ${run.corpus}` : "another corpus"}, which isn’t open here: start with --corpus to see them.`),
    rewards(row, found),
    found.error ? el("p", { class: "bad" }, foreign(found.error)) : null,
    gold.length ? el("p", { class: "soft" }, "Gold pages: ", ...gold.map(goldPage)) : null,
    list,
    outcome(by.stop, by.usage, answer),
    found.tokens ? tokenDetails(found.tokens) : null,
    row.step !== null && !found.tokens ? el("p", { class: "soft" }, "Tokens of this episode weren’t kept.") : null,
  );
}

function goldPage({ ref, box, place }, index) {
  const name = `${ref.document}, page ${ref.page}`;
  return place ? citation({ ...place, box }, "gold") : foreign(`${index ? "; " : ""}${name}`);
}

function rewards(row, { judgement }) {
  const cells = Object.entries(row.parts).map(([name, value]) => [name, number(value, 3)]);
  if (row.reward !== null) cells.push(["reward", number(row.reward, 3)]);
  if (judgement) cells.push(["judge", `${judgement.right === null ? "no verdict" : judgement.right ? "right" : "wrong"}, by ${judgement.by}`]);
  return el("dl", { class: "rewards" }, ...cells.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}
