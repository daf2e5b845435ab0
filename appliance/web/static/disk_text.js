// Small things the disk's modules share: elements, paths as addresses carry them, sizes and dates in words.

const language = document.documentElement.lang;
const figure = new Intl.NumberFormat(language, { maximumSignificantDigits: 3 });
const UNITS = language === "fr" ? ["o", "ko", "Mo", "Go", "To"] : ["B", "kB", "MB", "GB", "TB"];
// The practice's, as everywhere on the page; a computer on a journey may have another.
const timeZone = document.documentElement.dataset.zone;
const date = new Intl.DateTimeFormat(language, { dateStyle: "short", timeStyle: "short", timeZone });
const long = new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "medium", timeZone });
const utf8 = new TextEncoder();

export function element(tag, css, ...inside) {
  const made = document.createElement(tag);
  if (css) made.className = css;
  made.append(...inside);
  return made;
}
export function button(text, css, act) {
  const made = element("button", css, text);
  made.type = "button"; made.addEventListener("click", act);
  return made;
}
export function sized(bytes) {
  let unit = 0;
  while (bytes >= 1000 && unit < 4) { bytes /= 1000; unit += 1; }
  return `${figure.format(bytes)}\u00a0${UNITS[unit]}`;
}
export const dated = (milliseconds) => date.format(milliseconds);
export const datedLong = (milliseconds) => long.format(milliseconds);
export const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
// What could make a name look like another one is shown as a mark of its own.
export const shown = (name) => name.replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");

export const bytesOf = (text) => utf8.encode(text);
export function pack(bytes) {
  let text = "";
  for (const each of bytes) text += String.fromCharCode(each);
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}
export function unpack(text) {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (each) => each.charCodeAt(0));
}
export function join(folder, name) {
  if (!folder) return pack(name);
  const above = unpack(folder);
  const whole = new Uint8Array(above.length + 1 + name.length);
  whole.set(above); whole[above.length] = 47; whole.set(name, above.length + 1);
  return pack(whole);
}
export function above(folder) {
  const whole = unpack(folder);
  const cut = whole.lastIndexOf(47);
  return cut < 0 ? "" : pack(whole.slice(0, cut));
}
export const readable = (packed) => new TextDecoder().decode(unpack(packed));
export function lastOf(packed) { return unpack(packed).slice(unpack(packed).lastIndexOf(47) + 1); }
