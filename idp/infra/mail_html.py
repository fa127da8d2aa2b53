"""Filters of the frame of mails. Outlook and others ignore the style sheet of a mail, so styles are put on each tag."""

import re
from collections.abc import Iterator
from typing import Final

from markupsafe import Markup, escape

#: The font of all texts.
FONT: Final = "-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"
_TEXT = f"font-family:{FONT};font-size:16px;line-height:25px;color:#101c22;overflow-wrap:anywhere"
#: Styles by tag, or by tag and class. ``{color}`` and ``{on_color}`` are those of the brand.
STYLES: Final = {
    "h1": f"margin:0 0 16px;font-family:{FONT};font-size:22px;line-height:29px;font-weight:600;color:#101c22;"
    "overflow-wrap:anywhere",
    "p": f"margin:0 0 16px;{_TEXT}",
    "ul": f"margin:0 0 16px;padding:0;padding-inline-start:24px;{_TEXT}",
    "ol": f"margin:0 0 16px;padding:0;padding-inline-start:24px;{_TEXT}",
    "p.code": "margin:0 0 16px;font-family:ui-monospace,Menlo,Consolas,monospace;font-size:32px;line-height:40px;"
    "font-weight:600;letter-spacing:6px;color:#101c22",
    "a": "color:{color}",
    "a.button": "display:inline-block;padding:10px 18px;border-radius:8px;background-color:{color};color:{on_color};"
    "font-weight:600;text-decoration:none",
}
_TAG = re.compile(r"<(p|h1|ul|ol|a)((?:\s[^<>]*)?)>")
_CLASS = re.compile(r'\sclass="([\w-]+)"')
_PARAGRAPH = re.compile(r"<p[\s>]")
#: Characters of the text that lists of mails show beside the subject.
PREHEADER_LENGTH: Final = 140
#: Characters of HTML in which it is looked for.
_PREHEADER_WITHIN = 20_000


def inline_styles(html: str, color: str, on_color: str) -> Markup:
    """Return HTML with the styles of its tags. A tag with a style of its own keeps that.

    Args:
        color: that of links and buttons.
        on_color: that of text on a button.
    """

    def styled(match: re.Match[str]) -> str:
        tag, attributes = match[1], match[2]
        if " style=" in attributes:
            return match[0]
        named = _CLASS.search(attributes)
        style = STYLES.get(f"{tag}.{named[1]}" if named else tag, STYLES[tag])
        style = style.replace("{color}", escape(color)).replace("{on_color}", escape(on_color))
        return f'<{tag}{attributes} style="{style}">'

    return Markup(_TAG.sub(styled, str(html)))  # noqa: S704 -- rendered by a template, which escapes values


def preheader(html: str) -> str:
    """Return the beginning of the text after the salutation, which is the first paragraph."""
    parts = _paragraphs(str(html)[:_PREHEADER_WITHIN])
    paragraphs = [" ".join(Markup(part).striptags().split()) for part in parts]  # noqa: S704
    text = " ".join(paragraphs[1:] or paragraphs)
    return text if len(text) <= PREHEADER_LENGTH else f"{text[:PREHEADER_LENGTH].rsplit(' ', 1)[0]} …"


def _paragraphs(html: str) -> Iterator[str]:
    """Yield each paragraph, in one pass. A search for all by one expression would look for each end up to the last."""
    end = 0
    while (start := _PARAGRAPH.search(html, end)) and (found := html.find("</p>", start.end())) >= 0:
        end = found + len("</p>")
        yield html[start.start() : end]
