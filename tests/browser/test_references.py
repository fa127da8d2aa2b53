"""The comparison of pages with the screenshots that are kept of them."""

from pathlib import Path

import pytest
from playwright.async_api import Browser as Chromium

from tests.support import references

pytestmark = pytest.mark.browser

PAGE = (
    "<style>body {{ margin: 0; font: 40px monospace }} div {{ background: {color}; height: 200px }}</style><div>{text}"
)


async def _take(chromium: Chromium, folder: Path, monkeypatch: pytest.MonkeyPatch, **pages: tuple[str, str]) -> Path:
    folder.mkdir()
    monkeypatch.setenv(references.FOLDER, str(folder))
    page = await chromium.new_page(viewport={"width": 320, "height": 300})
    for name, (text, color) in pages.items():
        await page.set_content(PAGE.format(text=text, color=color))
        await references.keep(page, name)
        assert await page.inner_text("div") == text
    await page.close()
    return folder


async def test_what_differs_is_told(chromium: Chromium, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A random id or a port is no difference."""
    before = await _take(
        chromium, tmp_path / "before", monkeypatch,
        same=("localhost:1234 0199a3c4d5e6", "white"), other=("Sign in", "white"), gone=("Sign in", "white"),
    )  # fmt: skip
    after = await _take(
        chromium, tmp_path / "after", monkeypatch,
        same=("localhost:9876 ffffeeee0123", "white"), other=("Sign in", "teal"), new=("Sign in", "white"),
    )  # fmt: skip
    found = {name: what for name, what, _ in await references.compare(before, after)}
    assert found.keys() == {"gone.jpg", "new.jpg", "other.jpg"}
    assert (found["gone.jpg"], found["new.jpg"]) == ("gone", "new")
    assert found["other.jpg"].endswith("% of the pixels")


def test_a_name_is_the_same_in_every_run() -> None:
    assert (
        references.file_name("an_invitation", "01", "You: 3f3c46ed29d1@example.com")
        == "an-invitation-01-you-0-example-com"
    )
    assert references.file_name("Allow 127.0.0.1:38045") == "allow-127-0-0-1"
