// Typing the words of a sheet: a space goes on to the next place, a whole sheet pasted or scanned is
// spread over its places, and a word that is none is marked at once. Everything works without this file.
const known = new Set([...document.querySelectorAll("#kit-words option")].map((each) => each.value));

const placesOf = (input) => [...document.querySelectorAll(`input[name="${input.name}"]`)];

function wordOf(typed) {
  const word = typed.trim().toLowerCase();
  if (known.has(word) || word.length < 4) return word;
  const found = [...known].filter((each) => each.startsWith(word));
  return found.length === 1 ? found[0] : word;
}

function judge(input) {
  const word = wordOf(input.value);
  if (word !== input.value && known.has(word)) input.value = word;
  const isWrong = word !== "" && !known.has(word);
  input.closest("li").classList.toggle("is-bad", isWrong);
  if (isWrong) input.setAttribute("aria-invalid", "true");
  else input.removeAttribute("aria-invalid");
}

document.addEventListener("input", (event) => {
  const input = event.target;
  if (!input.matches?.("[data-kit-word]") || !/\s|\d/.test(input.value.trimStart())) return;
  const typed = input.value.split(/[^\p{L}]+/u).filter((each) => each !== "");
  const places = placesOf(input);
  const first = places.indexOf(input);
  typed.forEach((word, offset) => {
    const place = places[first + offset];
    if (!place) return;
    place.value = word;
    judge(place);
  });
  const next = places[Math.min(first + Math.max(typed.length, 1), places.length - 1)];
  if (next !== input) next.focus();
});

document.addEventListener("focusout", (event) => {
  if (event.target.matches?.("[data-kit-word]")) judge(event.target);
});
