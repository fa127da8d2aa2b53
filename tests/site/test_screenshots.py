"""The script that takes the screenshots of the documentation, with one colour scheme."""

from pathlib import Path

import pytest

from docs.images.take import take
from tests.support.chromium import installed

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"


@pytest.mark.browser
def test_every_screenshot_is_taken(tmp_path: Path) -> None:
    if installed() is None:
        pytest.skip("There is no Chromium on this machine.")
    take(tmp_path, ["light"])
    taken = {path.name for path in tmp_path.glob("*.png")}
    assert taken == {path.name for path in IMAGES.glob("*-light.png")}
    assert {path.name for path in tmp_path.glob("*.jpg")} == {path.name for path in IMAGES.glob("*.jpg")}
    assert min(path.stat().st_size for path in tmp_path.iterdir()) > 5000


def test_every_screenshot_is_shown_and_has_both_schemes() -> None:
    pages = "".join(page.read_text() for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
    light = {path.name.removesuffix("-light.png") for path in IMAGES.glob("*-light.png")}
    assert {path.name.removesuffix("-dark.png") for path in IMAGES.glob("*-dark.png")} == light
    assert [name for name in sorted(light) if f"images/{name}-light.png" not in pages] == []
    assert [path.name for path in sorted(IMAGES.glob("*.jpg")) if f"images/{path.name}" not in pages] == []
