"""Where a mail may have its code and link: in text that its reader sees, and the link as the whole target of an ``a``.

Elsewhere, such as in the address of an image, a template would send them to a third party when the mail is opened.
"""

from collections.abc import Mapping
from html import unescape
from html.parser import HTMLParser
from typing import Final
from urllib.parse import unquote

from idp.mail.templates.language import MAX_DEPTH, InvalidTemplateError

#: Elements whose text is not shown as it is, or is sent with a form.
HIDDEN: Final = frozenset({
    "button", "iframe", "noembed", "noframes", "noscript", "object", "option", "plaintext", "script", "style", "svg",
    "template", "textarea", "xmp",
})  # fmt: skip


def check(html: str, secrets: Mapping[str, str]) -> None:
    """Check where the HTML of a mail has its code and link.

    Args:
        secrets: their values, by the name of the variable.

    Raises:
        InvalidTemplateError: one is where others could read it.
    """
    parser = _Parser(secrets)
    parser.feed(html)
    # The parser stops at what has no end, and mail programs guess where it ends.
    if "<" in parser.rawdata or parser.cdata_elem is not None:
        raise InvalidTemplateError("The HTML has a tag, comment or style without an end.")
    parser.close()


class _Parser(HTMLParser):
    def __init__(self, secrets: Mapping[str, str]) -> None:
        super().__init__()
        self._secrets = secrets
        self._hidden: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if (tag, name) != ("a", "href") or value != self._secrets.get("link"):
                self._refuse(f"{name}={value or ''}", f"the attribute {name[:60]} of <{tag[:60]}>")
        self._refuse(tag, "the name of a tag")
        if tag in HIDDEN:
            self._hidden.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._hidden:
            self._hidden.remove(tag)

    def handle_data(self, data: str) -> None:
        if self._hidden:
            self._refuse(data, f"<{self._hidden[-1]}>")

    def handle_comment(self, data: str) -> None:
        self._refuse(data, "a comment")

    def handle_decl(self, decl: str) -> None:
        self.handle_comment(decl)

    def handle_pi(self, data: str) -> None:
        self.handle_comment(data)

    def unknown_decl(self, data: str) -> None:
        self.handle_comment(data)

    def _refuse(self, text: str, place: str) -> None:
        for _ in range(MAX_DEPTH):
            for name, value in self._secrets.items():
                if value.lower() in text.lower():
                    raise InvalidTemplateError(f"{{{{ {name} }}}} cannot be in {place}, where others could read it.")
            decoded = unescape(unquote(text))
            if decoded == text:
                return
            text = decoded
