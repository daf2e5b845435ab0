// Going through what a search found by the keyboard, and opening it where one is.
// Typing itself is htmx; without this file every result is a link.

for (const form of document.querySelectorAll("[data-disk-search]")) {
  const input = form.querySelector("input[type=search]");
  const few = form.querySelector(".disk-found"); // over a folder; the page of the search has none
  const results = few ?? document;
  const links = () => [...results.querySelectorAll(few ? "a.hit, a.all" : "#disk-results a.hit")];
  const shut = () => { if (few) few.replaceChildren(); };

  form.addEventListener("submit", (event) => { if (!input.value.trim()) event.preventDefault(); });
  input.addEventListener("input", () => { if (!input.value.trim()) shut(); });
  const keys = (event) => {
    const all = links();
    const at = all.indexOf(document.activeElement);
    if (event.target !== input && at < 0) return;
    if (event.key === "ArrowDown" && all.length) { event.preventDefault(); all[Math.min(at + 1, all.length - 1)].focus(); }
    else if (event.key === "ArrowUp" && at >= 0) { event.preventDefault(); (at === 0 ? input : all[at - 1]).focus(); }
    else if (event.key === "Home" && at > 0) { event.preventDefault(); all[0].focus(); }
    else if (event.key === "End" && at >= 0) { event.preventDefault(); all.at(-1).focus(); }
    else if (event.key === "Escape" && (at >= 0 || few?.childElementCount)) {
      event.preventDefault(); event.stopPropagation(); shut(); input.focus(); input.select();
    } else if (at >= 0 && event.key.length === 1 && !event.ctrlKey && !event.metaKey && !event.altKey && event.key !== " ") {
      input.focus(); // one goes on typing
    }
  };
  (few ? form : document).addEventListener("keydown", keys);
  if (few) {
    addEventListener("click", (event) => { if (!form.contains(event.target) && !event.target.closest("dialog")) shut(); });
  }
  addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault(); input.focus(); input.select();
    }
  });

  // A file is looked at over the page when it can be; else the link does what links do.
  (few ? form : document).addEventListener("click", (event) => {
    const link = event.target.closest("a[data-open]");
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const told = (each) => ({ share: each.dataset.share, path: each.dataset.path, name: each.dataset.name, size: Number(each.dataset.size) });
    const near = links().filter((each) => each.dataset.open !== undefined).map(told);
    const asked = new CustomEvent("disk:open", { cancelable: true, bubbles: true, detail: { ...told(link), files: () => near } });
    if (!link.dispatchEvent(asked)) event.preventDefault();
  });
}
