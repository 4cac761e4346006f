// Episodes of runs on disk: filtered, and seen one by one or beside another run's.

import { get } from "./api.js";
import { $, el, foreign, heading, number, options } from "./dom.js";
import { trajectory } from "./trajectory.js";
import { state } from "./state.js";

const FIRST = 100;
let runs = null; // until the server is found to have a folder of them
let left = null; // { run, episodes }
let right = null;
let listed = FIRST;
let loading = 0;

export async function startRuns() {
  const found = (await get("/v1/runs")).runs;
  if (!found) return;
  runs = found;
  document.querySelector('[data-view="runs"]').hidden = false;
  options($("run"), runs.map((run) => [run.name, label(run)]));
  options($("beside"), [["", "no other"], ...runs.map((run) => [run.name, label(run)])]);
  for (const id of ["run", "beside"]) $(id).addEventListener("change", () => go({}));
  $("run-filter").addEventListener("input", () => {
    listed = FIRST;
    draw();
  });
  $("run-filter").addEventListener("submit", (event) => event.preventDefault());
  $("episodes-more").addEventListener("click", () => {
    listed *= 3;
    draw();
  });
}

const label = (run) => [run.name, run.kind === "training" ? "kept in training" : run.policy, run.finished ? null : "unfinished"].filter(Boolean).join(" · ");

function go(more) {
  const given = { run: $("run").value, beside: $("beside").value, ...more };
  location.hash = `#/runs?${new URLSearchParams(Object.entries(given).filter(([, value]) => value !== ""))}`;
}

export async function showRuns({ run, beside, episode }) {
  if (!runs?.length) {
    $("run-status").textContent = runs
      ? "There are no runs in this folder: `vrag eval --out FOLDER/NAME` makes one."
      : "This app shows no runs: `vrag app --runs FOLDER` does.";
    return;
  }
  if (run) $("run").value = run;
  $("beside").value = beside ?? "";
  const mine = ++loading;
  const [one, other] = await Promise.all([load($("run").value, left), beside ? load(beside, right) : null]);
  if (mine !== loading) return;
  if (one !== left) filters(one.episodes);
  [left, right] = [one, other];
  draw();
  await open(episode);
}

async function load(name, held) {
  if (held?.run.name === name) return held;
  const found = await get(`/v1/runs/episodes?${new URLSearchParams({ run: name })}`);
  return { ...found, by: new Map(found.episodes.map((row) => [key(row), row])) };
}

const key = (row) => JSON.stringify([row.task, row.sample, row.seed, row.step, row.why]);

/** Those of the filters that a run has values for. */
function filters(rows) {
  const form = $("run-filter").elements;
  for (const name of ["verdict", "stop", "source"]) {
    const values = [...new Set(rows.map((row) => row[name]))].sort();
    options(form[name], [["", "any"], ...values.map((one) => [one, one])]);
    form[name].closest("label").hidden = values.length < 2;
  }
}

function matching() {
  const form = $("run-filter").elements;
  const text = form.text.value.trim().toLowerCase();
  const [least, most] = [form.least, form.most].map((one) => (one.value === "" ? null : Number(one.value)));
  return left.episodes.filter(
    (row) =>
      ["verdict", "stop", "source"].every((name) => !form[name].value || row[name] === form[name].value) &&
      (least === null || (row.reward !== null && row.reward >= least)) &&
      (most === null || (row.reward !== null && row.reward <= most)) &&
      (!text || `${row.question}\n${row.answer ?? ""}\n${row.task}`.toLowerCase().includes(text)) &&
      (!right || !form.differs.checked || right.by.get(key(row))?.verdict !== row.verdict),
  );
}

function draw() {
  $("run-filter").elements.differs.closest("label").hidden = !right;
  const rows = matching();
  const steps = rows.some((row) => row.step !== null);
  const names = ["", "Question", "Answer", "Gold", "Reward", "Stopped by", "Steps", ...(steps ? ["Kept at"] : []), ...(right ? ["Beside"] : [])];
  $("episodes").tHead.rows[0].replaceChildren(...names.map((name) => el("th", { scope: "col" }, name)));
  $("episodes").tBodies[0].replaceChildren(...rows.slice(0, listed).map((row) => line(row, steps)));
  $("episodes-more").hidden = rows.length <= listed;
  $("run-status").textContent = [tally(rows, left), right ? `beside ${tally(rows.map((row) => right.by.get(key(row))).filter(Boolean), right)}` : null].filter(Boolean).join(" — ");
}

function tally(rows, held) {
  const scored = rows.filter((row) => row.verdict !== "unscored");
  const good = scored.filter((row) => row.verdict === "right").length;
  const share = scored.length ? `, ${good} of ${scored.length} right (${number((100 * good) / scored.length, 1)} %)` : "";
  return `${held.run.name}: ${rows.length} of ${held.episodes.length} episodes${share}`;
}

const verdict = (row) => el("span", { class: `verdict ${row.verdict}`, title: row.verdict }, { right: "✓", wrong: "✕", unscored: "!" }[row.verdict], el("span", { class: "hidden" }, row.verdict));

function line(row, steps) {
  const link = el("a", { href: address(row.number) }, foreign(row.question));
  const other = right?.by.get(key(row));
  return el(
    "tr",
    {},
    el("td", {}, verdict(row)),
    el("th", { scope: "row" }, link),
    el("td", {}, row.answer === null ? el("i", {}, "none") : foreign(row.answer)),
    el("td", {}, foreign(row.answers.join(" or "))),
    el("td", { title: parts(row) }, number(row.reward)),
    el("td", {}, row.stop),
    el("td", {}, String(row.turns)),
    steps ? el("td", {}, row.step === null ? "" : `step ${row.step}, ${row.why}`) : null,
    right ? el("td", {}, ...(other ? [verdict(other), " ", foreign(other.answer ?? "none")] : ["–"])) : null,
  );
}

const parts = (row) => Object.entries(row.parts).map(([name, value]) => `${name} ${number(value)}`).join(", ");

const address = (episode) => `#/runs?${new URLSearchParams({ run: left.run.name, ...(right ? { beside: right.run.name } : {}), episode })}`;

/** One episode, and that of the other run to the same question. */
async function open(episode) {
  const shown = $("trajectory");
  shown.hidden = episode === undefined;
  $("episodes").hidden = !shown.hidden;
  $("run-filter").hidden = !shown.hidden;
  if (shown.hidden) {
    shown.replaceChildren();
    return;
  }
  $("episodes-more").hidden = true;
  const row = left.episodes[Number(episode)];
  if (!row) throw new Error(`This run has no episode ${episode}.`);
  const other = right?.by.get(key(row));
  const wanted = [[left, row], ...(other ? [[right, other]] : [])];
  const mine = loading;
  const found = await Promise.all(wanted.map(([held, { number: at }]) => get(`/v1/runs/episode?${new URLSearchParams({ run: held.run.name, number: at, corpus: state.corpus })}`)));
  if (mine !== loading) return;
  shown.replaceChildren(bar(row), ...heading(row.question), el("p", { class: "soft" }, "Gold: ", foreign(row.answers.join(" or "))), el("div", { class: found.length > 1 ? "beside" : "" }, ...found.map((one, index) => trajectory(one, wanted[index][0].run, verdict(one.row)))));
  if (right && !other) shown.append(el("p", { class: "soft" }, `${right.run.name} has no episode of this question.`));
  scrollTo({ top: 0 });
}

/** Back to the list, and to the neighbours among those that the filter lets through. */
function bar(row) {
  const rows = matching();
  const at = rows.indexOf(row);
  const near = (by, text) => (at >= 0 && rows[at + by] ? el("a", { href: address(rows[at + by].number) }, text) : null);
  const list = `#/runs?${new URLSearchParams({ run: left.run.name, ...(right ? { beside: right.run.name } : {}) })}`;
  return el("nav", { class: "row", "aria-label": "Episodes" }, el("a", { href: list }, "All episodes"), near(-1, "← previous"), near(1, "next →"));
}
