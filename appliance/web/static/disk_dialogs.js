// What the disk's page asks and says: a line to type, a folder to choose, a short message with a way back.

function element(tag, css, ...inside) {
  const made = document.createElement(tag);
  if (css) made.className = css;
  made.append(...inside);
  return made;
}

let place;
export function toast(text, { grave = false, action, act } = {}) {
  if (!place) {
    place = element("div", "toasts"); place.setAttribute("role", "status"); place.setAttribute("aria-live", "polite");
    document.body.append(place);
  }
  const made = element("div", grave ? "toast is-bad" : "toast", element("span", "", text));
  if (action) {
    const button = element("button", "small", action); button.type = "button";
    button.addEventListener("click", () => { made.remove(); act(); });
    made.append(button);
  }
  place.append(made);
  setTimeout(() => made.remove(), grave ? 12000 : 8000);
}

function dialog(title, ...inside) {
  const made = element("dialog", "card");
  const heading = element("h2", "", title); heading.id = `dialog-${Date.now()}`;
  made.setAttribute("aria-labelledby", heading.id);
  made.append(heading, ...inside);
  document.body.append(made);
  made.showModal();
  return made;
}

export function ask(title, label, value, words) {
  return new Promise((resolve) => {
    const input = element("input"); input.value = value; input.maxLength = 255; input.autocomplete = "off"; input.id = "ask";
    const text = element("label", "", label); text.htmlFor = "ask";
    const yes = element("button", "main", title); const no = element("button", "", words.cancel); no.type = "button";
    const inner = element("form", "", text, input, element("p", "row dialog-end", no, yes)); inner.method = "dialog";
    const made = dialog(title, inner);
    const dot = value.lastIndexOf(".");
    input.setSelectionRange(0, dot > 0 ? dot : value.length);
    let answer = null;
    inner.addEventListener("submit", () => { answer = input.value.trim(); });
    no.addEventListener("click", () => made.close());
    made.addEventListener("close", () => { made.remove(); resolve(answer); });
  });
}

const unpack = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (each) => each.charCodeAt(0));
function pack(bytes) {
  let text = "";
  for (const each of bytes) text += String.fromCharCode(each);
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

export function choose(title, api, from, words) {
  return new Promise((resolve) => {
    let here = from;
    let answer = null;
    const path = element("p", "soft");
    const list = element("ul", "folders");
    const yes = element("button", "main", words.here); yes.type = "button";
    const no = element("button", "", words.cancel); no.type = "button";
    const made = dialog(`${title} · ${words.into}`, path, list, element("p", "row dialog-end", no, yes));
    async function look() {
      path.textContent = `/${new TextDecoder().decode(unpack(here))}`;
      list.replaceChildren(element("li", "soft", words.loading));
      const found = await fetch(`${api}/list?p=${here}`).then((each) => (each.ok ? each.json() : { n: [], k: "", raw: {} }));
      const lines = [];
      const add = (text, to) => {
        const button = element("button", "plain", text); button.type = "button";
        button.addEventListener("click", () => { here = to; look(); });
        lines.push(element("li", "", button));
      };
      if (here) {
        const whole = unpack(here); const cut = whole.lastIndexOf(47);
        add(`↑ ${words.up}`, cut < 0 ? "" : pack(whole.slice(0, cut)));
      }
      found.n.forEach((name, at) => {
        if (found.k[at] !== "d") return;
        const inner = at in found.raw ? unpack(found.raw[at]) : new TextEncoder().encode(name);
        const above = here ? [...unpack(here), 47] : [];
        add(name, pack(Uint8Array.from([...above, ...inner])));
      });
      list.replaceChildren(...lines);
    }
    yes.addEventListener("click", () => { answer = here; made.close(); });
    no.addEventListener("click", () => made.close());
    made.addEventListener("close", () => { made.remove(); resolve(answer); });
    look();
  });
}
