"""Whether people can read a page in the colours of a branding (WCAG 2.2, level AA)."""

from collections.abc import Iterator

from idp.branding.models import Branding
from idp.infra import colors
from idp.infra.colors import DARK, INK, LIGHT, READABLE

#: Texts on the page around the card, in light and in dark mode: names, and links of the footer (idp.css).
LIGHT_TEXTS, DARK_TEXTS = ("#101c22", "#51626b"), ("#e6edf0", "#9db0b9")


def problem(branding: Branding) -> str | None:
    """Return a sentence that says what cannot be read; None: everything can."""
    for color, name, ratio, advice in _pairs(branding):
        if ratio < READABLE:
            return (
                f"{name} {color} are hard to read: their contrast is {int(ratio * 10) / 10} to 1, and people need"
                f" {READABLE} to 1 (WCAG 2.2, level AA). Choose a {advice} colour."
            )
    return None


def _pairs(branding: Branding) -> Iterator[tuple[str, str, float, str]]:
    """Yield colours, where texts have them or stand on them, their lowest contrast, and what would raise it."""
    paper, dark_paper = branding.background_color, branding.dark_background_color
    if paper is not None:
        yield paper, "Texts on the page colour", _lowest(paper, LIGHT_TEXTS), "lighter"
    if dark_paper is not None:
        yield dark_paper, "Texts on the dark page colour", _lowest(dark_paper, DARK_TEXTS), "darker"
    light = (*LIGHT, paper) if paper is not None else LIGHT
    dark = (*DARK, dark_paper) if dark_paper is not None else DARK
    color = branding.color
    if color is not None:
        soft = colors.mixed(color, 0.12, "#ffffff")
        yield color, "Links in the colour", _lowest(color, (*light, soft)), "darker"
    shown = colors.shown_in_the_dark(color, branding.dark_color)
    if shown is not None:
        soft = colors.mixed(shown, 0.2, "#000000") if branding.dark_color else colors.mixed(color or "", 0.3, "#000000")
        named = "Links in the dark colour" if branding.dark_color else "In the dark, links in the colour"
        yield branding.dark_color or color or "", named, min(_lowest(shown, (*dark, soft)), _on(shown)), "lighter"


def _lowest(color: str, others: tuple[str, ...]) -> float:
    return min(colors.contrast(color, other) for other in others)


def _on(color: str) -> float:
    return max(colors.contrast(color, "#ffffff"), colors.contrast(color, INK))
