// Copies and prints what a page shows. Without it the buttons stay hidden.
(() => {
  "use strict";
  // What a person would copy: a list line by line, a key without the gaps between its groups.
  const text = (element) => [...element.querySelectorAll("li")].map((line) => line.textContent.trim()).join("\n")
    || element.textContent.trim();

  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(text(document.getElementById(button.dataset.copy)));
      button.textContent = button.dataset.copied;
    });
  }
  for (const button of document.querySelectorAll("button[data-print]")) {
    button.hidden = false;
    button.addEventListener("click", () => print());
  }
})();
