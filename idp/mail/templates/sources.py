"""The template of a mail as its author edits it: subject, HTML inside of the frame, and text without the footer."""

import re
from collections.abc import Mapping

from idp.infra import i18n
from idp.infra.templates import shipped_templates
from idp.mail.templates.models import ALL, Source

_BLOCK = r"\{%% block %s %%\}\n?(.*?)\{%% endblock %%\}"
_TITLE, _MAIN = (re.compile(_BLOCK % name, re.DOTALL) for name in ("title", "main"))
_COMMENT = re.compile(r"\{#.*?#\}\n?", re.DOTALL)
_FOOTER = '{% include "mail/footer.txt" %}'
#: A text to translate, without a plural.
_TRANS = re.compile(r"\{% trans(?: (?P<given>[^%]*?))? ?%\}(?P<text>(?:(?!\{%).)*)\{% endtrans %\}", re.DOTALL)
_CALL = re.compile(r'_\("(?P<text>[^"%]*)"\)')
_GIVEN = re.compile(r'(\w+)=((?:[^,"(]|"[^"]*"|\([^)]*\))+)')
_VALUE = re.compile(r"\{\{ (\w+) \}\}")
_PLACEHOLDER = re.compile(r"%\((\w+)\)s")


def shipped(template: str, language: str = ALL) -> Source:
    """Return the shipped template of a mail to begin with.

    For all languages its texts are those that are translated, as long as they are not changed. For one language they
    are in this language.
    """
    html, text = (shipped_templates().source(f"mail/{template}.{kind}") for kind in ("html", "txt"))
    title, main = _TITLE.search(html), _MAIN.search(html)
    assert title is not None and main is not None  # noqa: S101, PT018 -- tests read every template
    body = "\n".join(line.removeprefix("    ") for line in main[1].splitlines())
    source = Source(title[1].strip(), body.strip() + "\n", _COMMENT.sub("", text).replace(_FOOTER, "").strip() + "\n")
    if language == ALL:
        return source
    subject, html, text = (_translated(each, language) for each in (source.subject, source.html, source.text))
    # Jinja removes the line end after a block, and there are none any more.
    return Source(subject, html, text.replace("\n\n\n", "\n\n"))


def _translated(source: str, language: str) -> str:
    catalogue = i18n.catalogue(language)

    def block(match: re.Match[str]) -> str:
        given = dict(_GIVEN.findall(match["given"] or ""))
        message = _VALUE.sub(r"%(\1)s", match["text"].replace("%", "%%").strip())
        return _filled(catalogue.gettext(message), given)

    def call(match: re.Match[str]) -> str:
        message = match["text"]
        text = catalogue.gettext(message).replace('"', '\\"')
        return f'"{text}"'

    return _CALL.sub(call, _TRANS.sub(block, source))


def _filled(text: str, given: Mapping[str, str]) -> str:
    """Return a text with expressions in place of its placeholders."""
    named = _PLACEHOLDER.sub(lambda match: f"{{{{ {given.get(match[1], match[1]).strip()} }}}}", text)
    return named.replace("%%", "%")
