for (const button of document.querySelectorAll("[data-show]"))
  button.addEventListener("click", () => {
    const show = button.dataset.show;
    for (const other of document.querySelectorAll("[data-show]"))
      other.setAttribute("aria-pressed", String(other === button));
    for (const card of document.querySelectorAll("[data-verdict]"))
      card.hidden = show !== "all" && !card.dataset.verdict.split(" ").includes(show);
  });
for (const data of document.querySelectorAll("script.tokens"))
  data.replaceWith(tokenDetails(JSON.parse(data.textContent)));
