// The few things a page does by itself. Everything works without this file.

// One-time link: the code stands behind «#», where no server log sees it.
const link = document.querySelector("form[data-link]");
if (link && location.hash.length > 20) {
  link.elements.token.value = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
  link.requestSubmit();
}

document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.confirm ?? event.target.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});

// An answer that takes longer than a moment: a bar on top says that it goes on. Forms whose answer is a file, or
// comes into another window, leave the page as it is.
document.addEventListener("submit", (event) => {
  if (event.defaultPrevented || event.target.matches("[target], [data-picks], [data-download]")) return;
  const bar = document.createElement("progress");
  const words = document.createElement("span");
  const slow = document.createElement("div");
  bar.setAttribute("aria-hidden", "true");
  words.className = "unseen"; words.textContent = document.body.dataset.wait;
  slow.className = "slow"; slow.setAttribute("role", "status"); slow.append(bar, words);
  const timer = setTimeout(() => document.body.append(slow), 600);
  addEventListener("pagehide", () => { clearTimeout(timer); slow.remove(); }, { once: true });
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  await navigator.clipboard.writeText(source.textContent.trim());
  const before = button.textContent;
  button.textContent = button.dataset.done;
  setTimeout(() => { button.textContent = before; }, 2000);
});

// «Select all» and how many are chosen.
document.addEventListener("change", (event) => {
  const box = event.target;
  if (box.type !== "checkbox" || !box.form?.matches("[data-picks]")) return;
  const picks = [...box.form.querySelectorAll("input[name=p]")];
  if (box.matches("[data-all]")) for (const pick of picks) pick.checked = box.checked;
  const chosen = picks.filter((pick) => pick.checked).length;
  for (const place of box.form.querySelectorAll("[data-count]")) place.textContent = chosen;
  for (const button of box.form.querySelectorAll("[data-needs-pick]")) button.disabled = chosen === 0;
});
for (const button of document.querySelectorAll("[data-needs-pick]")) {
  button.disabled = !button.form.querySelector("input[name=p]:checked");
}
for (const element of document.querySelectorAll("[data-script-only]")) element.hidden = false;
for (const element of document.querySelectorAll("[data-print]")) {
  element.addEventListener("click", () => print());
}
// On a narrow screen the menu is wider than the window: where one is stays in sight.
document.querySelector(".bar nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
