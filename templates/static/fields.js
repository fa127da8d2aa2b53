// Help for fields: passwords are shown and judged, and codes send themselves. Without it the forms work as well.
(() => {
  "use strict";
  // A neighbour of the folder of static files, wherever the server is mounted.
  const STRENGTH = new URL("../password/strength", document.currentScript.src);
  // What makes a password easy to guess, and what proves that the form is of our page.
  const SENT = ["username", "email", "name", "csrf_token", "token"];
  const FLOW = /\/login\/([^/]+)\//;
  const PAUSE = 400;

  const show = (button, field, shown) => {
    field.type = shown ? "text" : "password";
    button.setAttribute("aria-pressed", shown);
  };
  for (const button of document.querySelectorAll("button[data-reveal]")) {
    const field = document.getElementById(button.dataset.reveal);
    button.hidden = false;
    button.addEventListener("click", () => show(button, field, field.type === "password"));
    // Browsers keep what was typed into fields of text.
    field.form.addEventListener("submit", () => show(button, field, false));
  }

  const judge = async (field) => {
    const values = new URLSearchParams({ password: field.value });
    for (const name of SENT) {
      const value = field.form.elements[name]?.value;
      if (value) values.set(name, value);
    }
    // Not form.action, which may be a button.
    const flow = FLOW.exec(field.form.getAttribute("action"));
    if (flow) values.set("flow", flow[1]);
    const options = { method: "POST", body: values, credentials: "same-origin", redirect: "error" };
    const answer = await fetch(STRENGTH, options).catch(() => null);
    return answer?.ok ? answer.json().catch(() => null) : null;
  };
  for (const field of document.querySelectorAll("input[data-strength]")) {
    const words = document.getElementById(field.dataset.strength);
    let waiting = 0;
    const tell = (found) => {
      words.textContent = found?.text ?? "";
      if (found) words.dataset.score = found.accepted ? found.score : 0;
      else delete words.dataset.score;
    };
    field.addEventListener("input", () => {
      clearTimeout(waiting);
      // Nobody is told that a password is too short while they type it: the hint says how long it must be.
      if (field.value.length < field.minLength) return tell(null);
      waiting = setTimeout(async () => {
        const typed = field.value;
        const found = await judge(field);
        if (field.value === typed) tell(found);
      }, PAUSE);
    });
  }

  // A code that was pasted, or filled in by the browser, is complete. One that is typed waits for the button.
  const WHOLE = ["insertFromPaste", "insertFromDrop", "insertReplacementText", undefined];
  for (const field of document.querySelectorAll("input[autocomplete=one-time-code]")) {
    field.addEventListener("input", (event) => {
      const digits = field.value.replace(/[\s-]/g, "");
      if (!WHOLE.includes(event.inputType) || !/^\d{6}$/.test(digits)) return;
      field.value = digits;
      const button = field.form.querySelector("button[type=submit]");
      // What is still to be entered, or may be ticked, comes first.
      const open = field.form.querySelector(":invalid, [type=checkbox]:not(:checked)");
      if (open) open.focus();
      else field.form.requestSubmit(button);
    });
  }
})();
