// Passkeys (WebAuthn): fills in and sends the forms that carry data-passkey. Without it their buttons stay hidden.
(() => {
  "use strict";
  if (!window.PublicKeyCredential) return;

  const decode = (text) =>
    Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
  const encode = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer)))
      .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

  // As parseRequestOptionsFromJSON and toJSON do (WebAuthn section 5.1), which not every browser and not every
  // password manager has.
  const parse = (json) => {
    const options = JSON.parse(json);
    options.challenge = decode(options.challenge);
    if (options.user) options.user.id = decode(options.user.id);
    for (const key of [...(options.allowCredentials ?? []), ...(options.excludeCredentials ?? [])]) {
      key.id = decode(key.id);
    }
    return options;
  };
  const toJSON = ({ id, rawId, type, authenticatorAttachment, response }) => {
    const values = { transports: response.getTransports?.() };
    for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
      if (response[name]) values[name] = encode(response[name]);
    }
    return { id, rawId: encode(rawId), type, authenticatorAttachment, response: values };
  };

  // A browser makes one request at a time; the one of autofill waits until it is in the way.
  let waiting;
  const ask = async (form, mediation) => {
    waiting?.abort();
    waiting = new AbortController();
    const request = { publicKey: parse(form.dataset.options), signal: waiting.signal };
    if (mediation) request.mediation = mediation;
    return navigator.credentials[form.dataset.passkey](request);
  };
  const send = (form, button, credential) => {
    form.elements.credential.value = JSON.stringify(toJSON(credential));
    form.requestSubmit(button);
  };
  const tell = (form, text) => {
    const message = document.getElementById(form.dataset.message);
    if (!message) return;
    message.textContent = text;
    message.hidden = !text;
  };

  const autofill = async (form, button) => {
    if (!(await PublicKeyCredential.isConditionalMediationAvailable?.())) return;
    try {
      send(form, button, await ask(form, "conditional"));
    } catch {
      // The user did not press a button, so no message is shown.
    }
  };

  for (const form of document.querySelectorAll("form[data-passkey]")) {
    // It may stand elsewhere on the page.
    const button = [...form.elements].find((field) => field.id.startsWith("passkey-"));
    const conditional = "conditional" in form.dataset;
    button.hidden = false;
    const way = button.closest(".way");
    if (way) way.hidden = false;
    button.addEventListener("click", async (event) => {
      event.preventDefault();
      tell(form, "");
      button.disabled = true;
      let credential;
      try {
        credential = await ask(form);
      } catch (error) {
        const cancelled = error.name === "NotAllowedError" || error.name === "AbortError";
        tell(form, cancelled ? form.dataset.cancelled : form.dataset.failed);
      }
      button.disabled = false;
      if (credential) send(form, button, credential);
      else if (conditional) autofill(form, button);
    });
    if (conditional) autofill(form, button);
  }
})();
