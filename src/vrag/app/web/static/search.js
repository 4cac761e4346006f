// The search engine alone: pages by how well they match.

import { corpusPath, get } from "./api.js";
import { $, alertUser, el, fileOf, folderOf, foreign, marked, points, where } from "./dom.js";
import { picture } from "./pictures.js";
import { onChange, state } from "./state.js";
import { openPage } from "./viewer.js";

const FIRST = 30;
const MOST = 960;
let asked = 0;
let wanted = FIRST;
let shown = ""; // what the results are of
let from = ""; // their corpus

export function startSearch() {
  $("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    location.hash = `#/search?${new URLSearchParams({ corpus: state.corpus, q: $("query").value.trim(), by: $("by").value })}`;
    find(FIRST);
  });
  $("search-more").addEventListener("click", () => find(Math.min(MOST, wanted * 2)));
  onChange(() => {
    $("by-choice").hidden = (state.info?.search ?? "text") === "text";
    if (from !== state.corpus) clear();
  });
}

const key = () => JSON.stringify([state.corpus, $("query").value.trim(), $("by").value]);

export function showSearch({ q, by }) {
  if (by !== undefined) $("by").value = by;
  if (q) $("query").value = q;
  if (q && key() !== shown) return find(FIRST);
  $("query").focus();
}

/** No results of another corpus under this one's name. */
function clear() {
  asked++; // what is still to come isn't wanted any more
  shown = from = $("search-status").textContent = "";
  $("search-results").replaceChildren();
  $("search-more").hidden = true;
}

async function find(k) {
  const query = $("query").value.trim();
  if (!query || !state.corpus) return;
  if (from !== state.corpus) clear();
  [wanted, shown, from] = [k, key(), state.corpus];
  const mine = ++asked;
  const began = performance.now();
  const given = new URLSearchParams({ q: query, k, snippets: true, ...($("by").value && !$("by-choice").hidden ? { by: $("by").value } : {}) });
  try {
    const { results } = await get(`${corpusPath(state.corpus)}/search?${given}`);
    if (mine !== asked || from !== state.corpus) return;
    const [hits] = results;
    $("search-results").replaceChildren(...hits.map((hit, index) => card(hit, index, query)));
    $("search-more").hidden = hits.length < k || k >= MOST;
    const ms = Math.round(performance.now() - began);
    $("search-status").textContent = hits.length ? `The best ${hits.length === 1 ? "page" : `${hits.length} pages`} of ${state.info?.pages.toLocaleString() ?? "?"}, in ${ms} ms` : "No page matches.";
  } catch (error) {
    if (mine === asked && k === FIRST) clear();
    alertUser(error.message);
  }
}

function card(hit, index, query) {
  const found = Object.entries(hit.ranks).map(([way, rank]) => `${way} ${rank}`).join(", ");
  const about = [`page ${hit.page}`, folderOf(hit.document), points(hit.score), found].filter(Boolean).join(" · ");
  return el(
    "li",
    {},
    el(
      "button",
      { type: "button", title: where(hit), "aria-label": `Open ${where(hit)}`, onclick: () => openPage(hit, [], query) },
      picture(hit.image, where(hit), 200),
      el(
        "span",
        { class: "about" },
        el("span", { class: "name" }, `${index + 1}. `, foreign(fileOf(hit.document))),
        el("span", { class: "soft" }, foreign(about)),
        hit.snippet?.text ? el("span", { class: "snippet", dir: "auto" }, ...marked(hit.snippet.text, new Set(hit.snippet.found))) : null,
      ),
    ),
  );
}
