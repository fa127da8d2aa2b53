"""Renders a mail from its template: of the console, of the operator's folder, or the shipped one."""

import re
from collections.abc import Mapping
from functools import lru_cache
from html import unescape
from typing import Any, NamedTuple

import structlog
from markupsafe import Markup

from idp import clock
from idp.branding.registry import product_name
from idp.infra import i18n
from idp.infra.templates import Templates, shipped_templates, templates
from idp.mail import brand
from idp.mail.templates import language, leaks
from idp.mail.templates.kinds import KINDS, names_of
from idp.mail.templates.models import Source
from idp.mail.templates.registry import overrides
from idp.settings import settings

log = structlog.get_logger()

_BETWEEN = "\n\n"
_EMPTY_LINES = re.compile(r"\n{3,}")
_TITLE = re.compile(r"<title>(.*?)</title>", re.DOTALL)


class Parts(NamedTuple):
    """A rendered mail."""

    subject: str
    html: str
    text: str


def values_of(to: str, name: str | None, context: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a template.

    Args:
        to: the address of the recipient, used as salutation if there is no name.
        context: what :func:`idp.mail.outbox.queue` was given.
    """
    return dict(context) | {
        "brand": brand.complete(context.get("brand")),
        "name": name or to,
        "when": i18n.exact_moment(clock.now()),
        "issuer": settings().issuer,
        "product_name": product_name(),
        "lang": i18n.locale.get(),
        "dir": i18n.direction(),
    }


def render(template: str, values: Mapping[str, Any]) -> Parts:
    """Render a mail. A template that fails is passed over: it must not keep a code from its user.

    Raises:
        jinja2.TemplateError: the shipped template fails too.
    """
    custom = overrides.find(template, i18n.locale.get())
    if custom is not None:
        try:
            return render_source(template, custom, values)
        except Exception as error:
            _tell(template, "console", error, version=custom.version)
    try:
        return render_file(templates(), template, values)
    except Exception as error:
        if settings().templates_dir is None:
            raise
        _tell(template, "folder", error)
    return render_file(shipped_templates(), template, values)


def _tell(template: str, source: str, error: Exception, **more: Any) -> None:
    # Without the text of the exception, which may quote a value.
    log.error("mail_template_failed", template=template, kind=source, error=type(error).__name__, **more)


def render_file(files: Templates, template: str, values: Mapping[str, Any]) -> Parts:
    """Render a mail from template files. The title of the HTML is the subject."""
    html = files.render(f"mail/{template}.html", **values)
    title = _TITLE.search(html)
    subject = unescape(title[1]) if title else product_name()
    return Parts(_one_line(subject), html, files.render(f"mail/{template}.txt", **values))


def render_source(template: str, source: Source, values: Mapping[str, Any]) -> Parts:
    """Render a mail from a template of the console.

    Raises:
        TemplateError: a value is missing.
        InvalidTemplateError: the template cannot be used, or would send a code or link to others.
    """
    subject, html, text = compiled(template, source)
    names = names_of(template)
    known = {name: value for name, value in values.items() if name in names}
    title = _one_line(subject.render(known))
    button = templates().module("mail/parts.html", **values).button
    main = html.render(known | {"button": button})
    if not is_document(source.html):
        # The values in it are escaped.
        main = templates().render("mail/custom.html", **dict(values) | {"subject": title, "main": Markup(main)})  # noqa: S704
    _check(template, main, values)
    footer = templates().render("mail/footer.txt", **values)
    return Parts(title, main, f"{_EMPTY_LINES.sub(_BETWEEN, text.render(known)).strip()}{_BETWEEN}{footer}")


def _check(template: str, html: str, values: Mapping[str, Any]) -> None:
    """Check each mail, not only the examples before saving: what a template does may depend on a name."""
    if len(html) > language.MAX_OUTPUT:
        raise language.InvalidTemplateError(f"The mail is longer than {language.MAX_OUTPUT} characters.")
    leaks.check(html, {name: str(values[name]) for name in KINDS[template].proofs if values.get(name)})


def is_document(html: str) -> bool:
    """Return whether the HTML of a template is a whole document, which gets no frame."""
    return html.lstrip()[:9].lower() == "<!doctype"


@lru_cache(maxsize=64)
def compiled(template: str, source: Source) -> tuple[language.Compiled, language.Compiled, language.Compiled]:
    """Return the parts of a template of the console, compiled.

    Raises:
        InvalidTemplateError: one of them cannot be used.
    """
    names = names_of(template)
    return (
        _compiled("subject", source.subject, names, html=False),
        _compiled("HTML", source.html, names, html=True),
        _compiled("text", source.text, names, html=False),
    )


def _compiled(part: str, source: str, names: frozenset[str], *, html: bool) -> language.Compiled:
    try:
        return language.compile_template(source, names, html=html)
    except language.InvalidTemplateError as error:
        raise language.InvalidTemplateError(f"{part}, {error.description}") from error


def _one_line(text: str) -> str:
    """Return a subject: a header must be one line, whatever a name contains."""
    return " ".join(text.split())
