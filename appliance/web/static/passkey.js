// Passkeys: the browser makes or uses one, and its answer goes with the form. Without a browser that knows
// them, or under a bare address, these forms stay hidden and the other ways remain.
const known =
  window.PublicKeyCredential?.parseRequestOptionsFromJSON &&
  window.PublicKeyCredential?.parseCreationOptionsFromJSON;

async function ask(form) {
  const answer = await fetch(form.dataset.options, { method: "POST" });
  if (!answer.ok) throw new Error("options");
  const options = await answer.json();
  const made =
    form.dataset.passkey === "make"
      ? await navigator.credentials.create({
          publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options),
        })
      : await navigator.credentials.get({
          publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options),
        });
  form.elements.answer.value = JSON.stringify(made.toJSON());
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  if (!known) continue;
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    if (form.elements.answer.value !== "") return;
    event.preventDefault();
    const said = form.querySelector("[data-passkey-said]");
    const button = form.querySelector("button");
    said.hidden = true;
    button.disabled = true;
    try {
      await ask(form);
      form.submit();
    } catch {
      form.elements.answer.value = "";
      said.hidden = false;
      button.disabled = false;
    }
  });
}
