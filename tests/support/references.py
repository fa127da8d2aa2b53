"""Screenshots of every page that are kept, so that a change of one is seen: ``make references``.

Fonts differ between machines, and a changed page may be meant. So nothing fails: the command writes a report with the
picture that is kept, the one of now, and what differs, for a person to look at.
"""

import argparse
import asyncio
import base64
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Literal

from playwright.async_api import Page, async_playwright

from tests.support.chromium import ARGUMENTS, installed

#: What a test has whose pages are kept.
USES = re.compile(r" look\(|keep_looks\(")
KEPT = Path(__file__).parents[1] / "browser" / "references"
#: The variable with the folder that :func:`keep` writes to. Without it nothing is kept.
FOLDER = "TEST_SCREENSHOTS"
#: Of the pictures, in percent. As PNG they would be three times as large.
QUALITY = 60
LOOKS: tuple[tuple[int, Literal["light", "dark"]], ...] = ((390, "light"), (1280, "dark"))
#: The share of pixels that may differ, for the edges of letters.
TOLERATED = 0.001

# Values that differ from run to run become the same ones until the picture is taken.
_SETTLE = """() => {
  const settled = text => text
    .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, "00000000-0000-0000-0000-000000000000")
    .replace(/\\b[B-Z]{4}-[B-Z]{4}\\b/g, "XXXX-XXXX")
    .replace(/\\b\\d{6}\\b/g, "000000")
    .replace(/[0-9a-f]{8,}/g, found => "0".repeat(found.length))
    .replace(/\\b(localhost|127\\.0\\.0\\.1):\\d+/g, "$1:8000")
    .replace(/\\b\\d{2}:\\d{2}(:\\d{2})?\\b/g, "00:00")
    .replace(/\\b[A-Za-z0-9_-]{20,}\\b/g, found => "x".repeat(found.length));
  const before = window.unsettled = [];
  const set = (target, name, value) => {
    if (target[name] === value) return;
    before.push([target, name, target[name]]);
    target[name] = value;
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) set(texts.currentNode, "data", settled(texts.currentNode.data));
  for (const field of document.querySelectorAll("input:not([type=hidden], [type=file]), textarea")) {
    set(field, "value", settled(field.value));
  }
  for (const time of document.querySelectorAll("time")) {
    if (time.firstChild) set(time.firstChild, "data", "1 minute ago");
  }
  for (const code of document.querySelectorAll(".qr, .codes")) set(code.style, "visibility", "hidden");
}"""
_UNSETTLE = "() => { for (const [target, name, value] of window.unsettled.reverse()) target[name] = value; }"

# The share of pixels that differ, and a picture of them in red on the faded first one.
_COMPARE = """async ([before, after]) => {
  const load = url => new Promise((done, fail) => {
    const image = new Image();
    image.onload = () => done(image);
    image.onerror = fail;
    image.src = url;
  });
  const [a, b] = await Promise.all([load(before), load(after)]);
  const width = Math.max(a.width, b.width), height = Math.max(a.height, b.height);
  const pixels = image => {
    const context = new OffscreenCanvas(width, height).getContext("2d");
    context.drawImage(image, 0, 0);
    return context.getImageData(0, 0, width, height).data;
  };
  const [one, two] = [pixels(a), pixels(b)];
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const shown = new ImageData(width, height);
  let changed = 0;
  for (let i = 0; i < one.length; i += 4) {
    const differs = [0, 1, 2, 3].some(part => Math.abs(one[i + part] - two[i + part]) > 32);
    changed += differs;
    shown.data.set(differs ? [220, 0, 0, 255] : [one[i], one[i + 1], one[i + 2], 60], i);
  }
  canvas.getContext("2d").putImageData(shown, 0, 0);
  return [changed / (width * height), canvas.toDataURL()];
}"""


async def keep(page: Page, name: str) -> None:
    """Take a picture of a page as it is now, if pictures are wanted."""
    if folder := os.environ.get(FOLDER):
        await page.evaluate(_SETTLE)
        path = Path(folder) / f"{name}.jpg"
        await page.screenshot(path=path, type="jpeg", quality=QUALITY, full_page=True, animations="disabled")
        await page.evaluate(_UNSETTLE)


async def keep_looks(page: Page, *parts: str) -> None:
    """Take pictures of a page, as on a phone in the light and on a desktop in the dark, if pictures are wanted.

    Args:
        parts: what the page is called, for the names of the files.
    """
    if FOLDER in os.environ:
        for width, scheme in LOOKS:
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            await page.set_viewport_size({"width": width, "height": 740})
            await keep(page, f"{file_name(*parts)}-{width}-{scheme}")


def file_name(*parts: str) -> str:
    """Return a file name of these parts, such as the names of a test and of a page."""
    settled = re.sub(r"[0-9a-f]{8,}", "0", "-".join(parts).lower())
    settled = re.sub(r"\b(127\.0\.0\.1|localhost):[0-9]+", r"\1", settled)
    return re.sub(r"[^a-z0-9]+", "-", settled).strip("-")


def _take(into: Path) -> None:
    tests = [str(path) for path in KEPT.parent.glob("test_*.py") if USES.search(path.read_text(encoding="utf-8"))]
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist=worksteal", *tests]
    subprocess.run(command, env=os.environ | {FOLDER: str(into)}, check=True)


def _url(path: Path) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode()}"


async def compare(kept: Path, taken: Path) -> list[tuple[str, str, str]]:
    """Return the pictures that differ: the name, what differs in words, and a part of an HTML page that shows it."""
    names = sorted({path.name for folder in (kept, taken) for path in folder.glob("*.jpg")})
    found = []
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=installed(), args=ARGUMENTS)
        page = await chromium.new_page()
        for name in names:
            before, after = kept / name, taken / name
            if not after.exists():
                found.append((name, "gone", f'<img src="{_url(before)}">'))
            elif not before.exists():
                found.append((name, "new", f'<img src="{_url(after)}">'))
            elif before.read_bytes() != after.read_bytes():
                share, differs = await page.evaluate(_COMPARE, [_url(before), _url(after)])
                if share > TOLERATED:
                    images = "".join(f'<img src="{url}">' for url in (_url(before), _url(after), differs))
                    found.append((name, f"{share:.1%} of the pixels", images))
        await chromium.close()
    return found


def _page(found: list[tuple[str, str, str]]) -> Iterator[str]:
    yield '<!doctype html><meta charset="utf-8"><title>Changed pages</title>'
    yield "<style>img { max-width: 32%; vertical-align: top; border: 1px solid gray; margin: 2px }</style>"
    for name, what, images in found:
        yield f"<h2>{escape(name)}: {escape(what)}</h2>{images}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true", help="keep the pictures of now")
    parser.add_argument("--report", type=Path, default=Path("references.html"), help="the report to write")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        taken = Path(folder)
        _take(taken)
        found = asyncio.run(compare(KEPT, taken))
        for name, what, _ in found:
            sys.stdout.write(f"{name}: {what}\n")
        if options.update:
            shutil.rmtree(KEPT, ignore_errors=True)
            shutil.copytree(taken, KEPT)
        elif found:
            options.report.write_text("\n".join(_page(found)), encoding="utf-8")
            sys.stdout.write(
                f"Look at {options.report}. If the changes are meant, keep them: make references ARGS=--update\n"
            )
        else:
            sys.stdout.write("No page has changed.\n")


if __name__ == "__main__":
    main()
