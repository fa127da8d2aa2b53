"""Changes of the templates of the console."""

import asyncio

from idp.audit.events import record
from idp.errors import NotFoundError, VersionConflictError
from idp.infra import i18n
from idp.infra.db.cache_invalidation import exclusive_change
from idp.mail.templates import checks, repository
from idp.mail.templates.kinds import KINDS
from idp.mail.templates.models import ALL, Override, Source
from idp.mail.templates.registry import TOPIC, overrides

#: Bytes of a request with a template, percent-encoded.
MAX_BODY = 256 * 1024
LANGUAGES = (ALL, *i18n.LOCALES)


class UnknownTemplateError(NotFoundError):
    """There is no such mail, language or version."""


class NoTemplateError(NotFoundError):
    """The template is the shipped one already."""

    def __init__(self) -> None:
        super().__init__("There is no template of the console for this mail and language.")


def check_name(template: str, language: str) -> None:
    """Check that there is a mail with this name, in this language.

    Raises:
        UnknownTemplateError: there is none.
    """
    if template not in KINDS:
        raise UnknownTemplateError("There is no mail with this name.")
    if language not in LANGUAGES:
        raise UnknownTemplateError(f"The language must be one of {', '.join(LANGUAGES)}.")


async def newest_version(template: str, language: str) -> int:
    """Return the number of the newest version, which the next change must name; 0: there is none."""
    found = await repository.versions(template, language)
    return found[0].version if found else 0


async def set_template(template: str, language: str, source: Source, expected: int | None = None) -> None:
    """Set the template of a mail for a language, or for all.

    Args:
        expected: the newest version that the caller has read. If that has changed since, nothing is changed.

    Raises:
        UnknownTemplateError: there is no such mail or language.
        InvalidTemplateError: the template cannot be used.
        VersionConflictError: it has changed.
    """
    check_name(template, language)
    source = normalised(source)
    await asyncio.to_thread(checks.check, template, language, source)
    async with exclusive_change(TOPIC):
        if _current(await repository.current(), template, language) == source:
            return
        await _add(template, language, source, expected)
        await record("mail_template_set", detail={"template": template, "language": language})
    await overrides.load()


async def reset(template: str, language: str, expected: int | None = None) -> None:
    """Use the template of the folder or the shipped one again. The versions stay.

    Args:
        expected: as of :func:`set_template`.

    Raises:
        UnknownTemplateError: there is no such mail or language.
        NoTemplateError: there is no template of the console.
        VersionConflictError: it has changed.
    """
    check_name(template, language)
    async with exclusive_change(TOPIC):
        if _current(await repository.current(), template, language) is None:
            raise NoTemplateError
        await _add(template, language, None, expected)
        await record("mail_template_reset", detail={"template": template, "language": language})
    await overrides.load()


async def _add(template: str, language: str, source: Source | None, expected: int | None) -> None:
    newest = await newest_version(template, language) if expected is None else expected
    if not await repository.add(template, language, newest, source):
        raise VersionConflictError


def _current(all: list[Override], template: str, language: str) -> Source | None:
    found = next((one for one in all if (one.template, one.language) == (template, language)), None)
    return None if found is None else Source(found.subject, found.html, found.text)


def normalised(source: Source) -> Source:
    """Return a template as it is stored: with line ends of one kind, and a subject of one line."""
    subject, html, text = (each.replace("\r\n", "\n").strip() for each in (source.subject, source.html, source.text))
    return Source(" ".join(subject.split()), f"{html}\n", f"{text}\n")
