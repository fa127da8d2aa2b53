/* Ctrl+K or Command+K goes to the search. Buttons copy secrets, URLs and snippets.

   Search as one types: the form is sent in the background, and its results take the place of those that are there.
   Without this script the form has its button. */
"use strict";

// Filters are folded on a phone only. Newer browsers do this without the script.
if (matchMedia("(width >= 40rem)").matches) {
  for (const folded of document.querySelectorAll("details.folded")) folded.open = true;
}

for (const form of document.querySelectorAll("form[data-live]")) {
  let waiting = 0;
  let latest = 0;
  form.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      const url = `${form.getAttribute("action")}?${new URLSearchParams(new FormData(form))}`;
      const number = ++latest;
      const response = await fetch(url, { credentials: "same-origin", redirect: "error" }).catch(() => null);
      if (!response?.ok || number !== latest) return;
      const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
      const results = fresh.getElementById(form.dataset.live);
      if (!results) return;
      document.getElementById(form.dataset.live).replaceChildren(...results.childNodes);
      history.replaceState(null, "", url);
    }, 200);
  });
}

document.addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) return;
  event.preventDefault();
  document.getElementById("search").select();
});

// URLs that contain the id which the form gives a new record.
for (const shown of document.querySelectorAll("[data-template]")) {
  const field = document.getElementById(shown.dataset.idField);
  field?.addEventListener("input", () => {
    shown.textContent = shown.dataset.template.replace("{}", field.value.trim() || "ID");
  });
}

for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
  });
}
