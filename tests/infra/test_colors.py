"""Colours that people can read."""

import re

import pytest

from idp.branding import contrast
from idp.infra import colors
from idp.infra.templates import templates_path


@pytest.mark.parametrize(
    ("color", "other", "ratio"),
    [
        ("#000000", "#ffffff", 21.0),
        ("#ffffff", "#ffffff", 1.0),
        ("#767676", "#ffffff", 4.54),
    ],
)
def test_contrast(color: str, other: str, ratio: float) -> None:
    """The examples of WCAG."""
    assert round(colors.contrast(color, other), 2) == round(colors.contrast(other, color), 2) == ratio


def test_the_backgrounds_are_those_of_the_style_sheet() -> None:
    """Of pages and cards, in light and in dark mode."""
    text = (templates_path() / "static" / "idp.css").read_text()
    light, dark = text.partition("prefers-color-scheme: dark")[::2]
    for part, expected in ((light, contrast.LIGHT_TEXTS), (dark, contrast.DARK_TEXTS)):
        assert [re.search(rf"--{name}: (#[0-9a-f]+);", part)[1] for name in ("ink", "soft")] == list(expected)  # type: ignore[index]
    for part, expected in ((light, colors.LIGHT), (dark, colors.DARK)):
        found = [re.search(rf"--{name}: (#[0-9a-f]+);", part) for name in ("surface", "paper", "sunken")]
        assert [match and match[1].replace("#fff", "#ffffff", len(match[1]) == 4) for match in found] == list(expected)


@pytest.mark.parametrize("text", ["", "0f5568", "#0f556", "#0f55688", "#0f556g", "#0f5568\n", "red", "#\uff10f5568"])
def test_what_is_no_color(text: str) -> None:
    assert not colors.is_color(text)
