"""Checks of mail templates: before one is saved, and of all that are used."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from html import unescape
from typing import Any

from jinja2 import TemplateError

from idp.infra import i18n
from idp.infra.templates import templates
from idp.mail.templates import rendering
from idp.mail.templates.kinds import KINDS, names_of, sample, samples
from idp.mail.templates.language import InvalidTemplateError
from idp.mail.templates.models import ALL, Override, Source
from idp.mail.templates.registry import overrides
from idp.mail.templates.rendering import Parts
from idp.settings import settings

MAX_SUBJECT, MAX_HTML, MAX_TEXT = 300, 40_000, 20_000
#: The recipient of samples.
RECIPIENT = "ada@example.com"


def check(template: str, language: str, source: Source) -> None:
    """Check a template of the console: its syntax, its variables, and mails made of it.

    Takes up to some tenths of a second: call it in a thread.

    Raises:
        InvalidTemplateError: it cannot be used. The text says why.
    """
    for name, text, limit in (
        ("subject", source.subject, MAX_SUBJECT), ("HTML", source.html, MAX_HTML), ("text", source.text, MAX_TEXT),
    ):  # fmt: skip
        if not text.strip():
            raise InvalidTemplateError(f"The {name} is empty.")
        if len(text) > limit:
            raise InvalidTemplateError(f"The {name} has more than {limit} characters.")
        if "\0" in text:
            raise InvalidTemplateError(f"The {name} has a null character.")
    rendering.compiled(template, source)
    with in_language(language):
        # Values that no template contains by chance.
        own = {"code": str(100_000 + secrets.randbelow(900_000)), "link": f"{settings().issuer}/{secrets.token_hex(8)}"}
        for context in samples(template, settings().issuer, **own):
            _check_mail(template, context, _rendered(template, source, context))


def _rendered(template: str, source: Source, context: dict[str, Any]) -> Parts:
    try:
        return rendering.render_source(template, source, rendering.values_of(RECIPIENT, context["name"], context))
    except InvalidTemplateError:
        raise
    except Exception as error:
        missing = ", ".join(sorted(name for name, value in context.items() if value is None))
        case = f" if {missing} is missing" if missing else ""
        reason = error.message if isinstance(error, TemplateError) else type(error).__name__
        raise InvalidTemplateError(f"The mail cannot be made{case}: {reason}.") from error


def _check_mail(template: str, context: dict[str, Any], parts: Parts) -> None:
    if not parts.subject:
        raise InvalidTemplateError("The subject of the mail is empty.")
    for name in KINDS[template].proofs:
        if context[name] is None:
            continue
        for part, text in (("HTML", unescape(parts.html)), ("text", parts.text)):
            if str(context[name]) not in text:
                raise InvalidTemplateError(
                    f"The {part} does not show {{{{ {name} }}}}, without which the mail is useless."
                )


@contextmanager
def in_language(language: str) -> Iterator[None]:
    """Render in a language; in English for those of all languages."""
    token = i18n.locale.set(i18n.SOURCE if language == ALL else language)
    try:
        yield
    finally:
        i18n.locale.reset(token)


def preview(template: str, language: str, source: Source | None) -> Parts:
    """Return the mail that a template makes of example values.

    Args:
        source: a template that need not be saved; None: the one that is used.

    Raises:
        InvalidTemplateError: it cannot be used.
    """
    with in_language(language):
        context = sample(template, settings().issuer)
        if source is not None:
            return _rendered(template, source, context)
        return rendering.render(template, rendering.values_of(RECIPIENT, context["name"], context))


def problems() -> list[tuple[str, str, str]]:
    """Return the templates that cannot be used, in whose place others are: name, where it is, and why."""
    wrong = ((one, _reason(one)) for one in overrides.all() if one.template in KINDS)
    found = [(one.template, f"of the console ({one.language})", reason) for one, reason in wrong if reason is not None]
    return found + folder_problems()


@lru_cache(maxsize=512)
def _reason(one: Override) -> str | None:
    """Return why a template cannot be used, or None."""
    try:
        check(one.template, one.language, one)
    except InvalidTemplateError as error:
        return error.description
    return None


def folder_problems() -> list[tuple[str, str, str]]:
    """Return what is wrong with the mail templates in the operator's folder."""
    found = []
    for template in KINDS:
        for name in (f"mail/{template}.html", f"mail/{template}.txt"):
            if not templates().is_own(name):
                continue
            unknown = templates().variables(name) - names_of(template)
            if unknown:
                found.append((template, name, f"There is no variable {', '.join(sorted(unknown))} in this mail."))
        if not found and (templates().is_own(f"mail/{template}.html") or templates().is_own(f"mail/{template}.txt")):
            found += _folder_failures(template)
    return found


def _folder_failures(template: str) -> list[tuple[str, str, str]]:
    for context in samples(template, settings().issuer):
        values = rendering.values_of(RECIPIENT, context["name"], context)
        try:
            _check_mail(template, context, rendering.render_file(templates(), template, values))
        except InvalidTemplateError as error:
            return [(template, f"mail/{template}", error.description)]
        except Exception as error:
            return [(template, f"mail/{template}", f"{type(error).__name__}: {error}")]
    return []
