// Makes a chosen picture smaller before it is uploaded. Its metadata, such as the place of a photo, stays here.
"use strict";

for (const form of document.querySelectorAll("form[data-shrink]")) {
  const input = form.querySelector("input[type=file]");
  input.addEventListener("change", async () => {
    const file = input.files[0];
    if (!file || file.type === "image/gif") {
      return;
    }
    try {
      const smaller = await shrink(file, Number(form.dataset.shrink));
      const chosen = new DataTransfer();
      chosen.items.add(smaller);
      input.files = chosen.files;
    } catch {
      // The server says what it does not accept.
    }
  });
}

async function shrink(file, side) {
  const picture = await createImageBitmap(file);
  const square = Math.min(picture.width, picture.height);
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = Math.min(side, square);
  const [left, top] = [(picture.width - square) / 2, (picture.height - square) / 2];
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // a JPEG has no transparency
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, left, top, square, square, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.85));
  return new File([blob], "picture.jpg", { type: "image/jpeg" });
}
