// The editor of a branding: shows changes in the preview as they are typed, and adds a picker to each colour.
"use strict";

const form = document.querySelector("form[data-preview]");
if (form) {
  const update = document.getElementById(form.dataset.preview);
  let waiting;
  form.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => form.requestSubmit(update), 400);
  });
  for (const field of form.querySelectorAll('input[name$="color"]')) {
    const picker = document.createElement("input");
    picker.type = "color";
    picker.className = "picker";
    picker.ariaLabel = field.labels[0].textContent;
    const show = () => {
      if (/^#[0-9a-f]{6}$/i.test(field.value)) picker.value = field.value;
    };
    show();
    field.addEventListener("input", show);
    picker.addEventListener("input", () => {
      field.value = picker.value;
    });
    field.after(picker);
  }
}
