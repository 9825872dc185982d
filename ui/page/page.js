// The parts of the page that need no server: the threshold slider, verdict buttons, copying the link.
// All of it by delegation on the document, because Gradio replaces the markup of a review.
(() => {
  const LEVELS = ["low", "medium", "high", "critical"];
  const review = (node) => node.closest(".tz-review");
  const says = (node) => JSON.parse(review(node).dataset.says);

  function filter(range) {
    const box = review(range), rank = Number(range.value), words = says(range);
    let shown = 0, hidden = 0;
    for (const card of box.querySelectorAll(".tz-card")) {
      card.hidden = Number(card.dataset.rank) < rank;
      if (!card.hidden) shown++;
    }
    // Counted by level, not by card: of very many findings not all are drawn.
    for (const count of box.querySelectorAll(".tz-count")) {
      const off = Number(count.dataset.rank) < rank;
      count.toggleAttribute("data-off", off);
      if (off) hidden += Number(count.dataset.n);
    }
    box.querySelector(".tz-none").hidden = shown > 0;
    box.querySelector(".tz-level").textContent = words.levels[rank];
    range.setAttribute("aria-valuetext", words.levels[rank]);
    box.querySelector(".tz-hidden").textContent = words.hidden.replace("{n}", hidden);
    for (const link of box.querySelectorAll("a[data-format]")) {
      link.search = `?format=${link.dataset.format}&threshold=${LEVELS[rank]}`;
    }
  }

  async function send(node, place, body, status) {
    const words = says(node);
    try {
      const reply = await fetch(`/v1/reviews/${review(node).dataset.id}/${place}`, {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
      });
      if (!reply.ok) throw new Error((await reply.json()).detail);
      return true;
    } catch (error) {
      status.textContent = words.not_saved.replace("{why}", error.message);
      return false;
    }
  }

  async function judge(node, verdict, severity) {
    const card = node.closest(".tz-card"), status = card.querySelector(".tz-status");
    const body = severity ? { verdict, severity } : { verdict };
    if (!(await send(node, `findings/${card.dataset.fingerprint}/feedback`, body, status))) return;
    for (const button of card.querySelectorAll("[data-verdict]")) {
      button.setAttribute("aria-pressed", String(button.dataset.verdict === verdict));
    }
    const select = card.querySelector(".tz-wrong");
    select.toggleAttribute("data-chosen", Boolean(severity));
    if (!severity) select.value = "";
    status.textContent = says(node).saved;
  }

  async function report(form) {
    const values = Object.fromEntries(new FormData(form)), status = form.querySelector(".tz-status");
    values.line = Number(values.line);
    if (await send(form, "feedback", values, status)) {
      form.reset();
      status.textContent = says(form).missed_saved;
    }
  }

  async function copy(button) {
    const link = new URL(`?review=${review(button).dataset.id}`, location.href).href;
    try {
      await navigator.clipboard.writeText(link);
      button.textContent = says(button).copied;
    } catch {
      button.textContent = link;
    }
  }

  // A review that has just been asked for gets its address, so that it can be shared and reloaded.
  function arrived() {
    const id = document.querySelector("#tz-result [data-id]")?.dataset.id;
    if (!id || new URLSearchParams(location.search).get("review") === id) return;
    history.replaceState(null, "", `?review=${id}`);
    document.querySelector("#tz-result").scrollIntoView({ block: "start" });
  }

  document.documentElement.lang = location.pathname.split("/")[1]; // Gradio says "en" for every page
  new MutationObserver(arrived).observe(document.documentElement, { childList: true, subtree: true });
  document.addEventListener("input", (event) => {
    if (event.target.matches?.(".tz-range")) filter(event.target);
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches?.(".tz-wrong") && event.target.value) {
      judge(event.target, "wrong-severity", event.target.value);
    }
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button");
    if (button?.dataset.verdict) judge(button, button.dataset.verdict);
    if (button?.matches(".tz-copy")) copy(button);
  });
  document.addEventListener("submit", (event) => {
    if (!event.target.matches(".tz-form")) return;
    event.preventDefault();
    report(event.target);
  });
})();
