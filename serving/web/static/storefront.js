// Sends the buttons of a page in the background and swaps the part that they may have changed.
// Without this file everything works by plain forms and redirects.
"use strict";

(() => {
  const toast = document.querySelector("[data-toast]");
  let busy = false;
  let timer = 0;

  const region = () => document.querySelector("[data-live]");
  const all = (root, selector) => Array.from(root.querySelectorAll(selector));
  const keyed = (root, key) => all(root, "[data-key]").find((node) => node.dataset.key === key);

  function say(text) {
    window.clearTimeout(timer);
    toast.textContent = text;
    toast.classList.remove("flash");
    toast.classList.add("show");
    timer = window.setTimeout(() => toast.classList.remove("show"), 7000);
  }

  // What stands in which slot: what a person would call "the page".
  function contents(root) {
    const slots = new Map();
    for (const slot of all(root, "[data-slot]")) {
      const heading = slot.querySelector("h2");
      const items = all(slot, "[data-item]").map((card) => card.dataset.item);
      slots.set(slot.dataset.slot, [slot.dataset.kind || "", heading ? heading.textContent : "", items]);
    }
    return slots;
  }

  function isSame(before, after) {
    return JSON.stringify([...before]) === JSON.stringify([...after]);
  }

  // Marks what was nowhere on the page before; what only moved is not news.
  function markNew(root, before) {
    const known = new Set([...before.values()].flatMap((slot) => slot[2]));
    const cards = all(root, "[data-slot] [data-item]");
    cards.filter((card) => !known.has(card.dataset.item)).forEach((card) => card.classList.add("is-new"));
  }

  function recallWhy(root) {
    try {
      const open = window.sessionStorage.getItem("why") === "open";
      all(root, "[data-why]").forEach((details) => { details.open = open; });
    } catch (error) {
      // Storage may be forbidden; then the panel starts closed.
    }
  }

  // Fetches the live part again; true when other products stand there than before.
  async function refresh(pressed) {
    const root = region();
    if (!root) return false;
    const answer = await fetch(root.dataset.live, { headers: { Accept: "text/html" }, credentials: "same-origin" });
    if (!answer.ok) throw new Error("refused");
    const parsed = new DOMParser().parseFromString(await answer.text(), "text/html");
    const before = contents(root);
    const key = pressed && pressed.dataset.key;
    const top = pressed ? pressed.getBoundingClientRect().top : 0;
    const scrolled = new Map(all(root, ".shelf").map((shelf, at) => [at, shelf.scrollLeft]));
    root.replaceChildren(...parsed.body.childNodes);
    recallWhy(root);
    const changed = !isSame(before, contents(root));
    if (changed) markNew(root, before);
    else all(root, ".shelf").forEach((shelf, at) => { shelf.scrollLeft = scrolled.get(at) || 0; });
    if (pressed) settle(root, key, top);
    return changed;
  }

  // What was pressed keeps its place under the pointer, and the keyboard its focus.
  function settle(root, key, top) {
    const found = keyed(root, key);
    const folded = found && found.closest("details:not([open])");
    const again = folded ? folded.querySelector("summary") : found;
    if (again) {
      window.scrollBy({ top: again.getBoundingClientRect().top - top, behavior: "instant" });
      again.focus({ preventScroll: true });
    } else {
      const heading = root.querySelector("h1");
      if (heading) heading.focus({ preventScroll: true });
    }
  }

  function showBasket(said) {
    all(document, "[data-basket]").forEach((node) => { node.textContent = said.basket; });
    all(document, "[data-basket-link]").forEach((node) => node.setAttribute("aria-label", said.basketLabel));
  }

  async function send(form, button) {
    const body = new URLSearchParams(new FormData(form));
    if (button.name) body.set(button.name, button.value);
    const answer = await fetch(form.action, {
      method: "POST", body, headers: { Accept: "application/json" }, credentials: "same-origin",
    });
    const said = await answer.json();
    if (!answer.ok) throw Object.assign(new Error("refused"), { said: said.error.said });
    return said;
  }

  document.addEventListener("submit", async (event) => {
    const form = event.target;
    const button = event.submitter;
    if (!form.matches("[data-quiet]") || !button) return;
    event.preventDefault();
    if (busy) return;
    busy = true;
    const was = button.getAttribute("aria-pressed");
    if (was) button.setAttribute("aria-pressed", was === "true" ? "false" : "true");
    button.setAttribute("aria-busy", "true");
    try {
      const said = await send(form, button);
      showBasket(said);
      if (said.next) {
        window.location.assign(said.next);
        return;
      }
      say((await refresh(button)) ? said.changed : said.message);
    } catch (error) {
      if (was) button.setAttribute("aria-pressed", was);
      say(error.said || toast.dataset.offline);
    } finally {
      button.removeAttribute("aria-busy");
      busy = false;
    }
  });

  document.addEventListener("toggle", (event) => {
    if (!event.target.matches || !event.target.matches("[data-why]")) return;
    try {
      window.sessionStorage.setItem("why", event.target.open ? "open" : "closed");
    } catch (error) {
      // As above.
    }
  }, true);

  // A page that comes back from the browser's memory may show hearts of a while ago.
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) refresh(null).catch(() => {});
  });

  recallWhy(document);
  document.documentElement.classList.add("scripted");
  if (toast.textContent.trim()) say(toast.textContent);
})();
