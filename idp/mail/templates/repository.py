"""Every statement on the templates of the console."""

from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import many, one
from idp.mail.templates.models import Override, Source, Version

#: Versions of a template that are kept.
KEPT = 30

_NEWEST = """(
    SELECT DISTINCT ON (template, language) template || '.' || language AS id, template, language, version,
        subject, html, text, created_at
    FROM mail_template ORDER BY template, language, version DESC
) AS newest"""
_COLUMNS = "template, language, version, subject, html, text"
_CURRENT = f"SELECT {_COLUMNS} FROM {_NEWEST} WHERE subject IS NOT NULL"  # noqa: S608 -- constants
_VERSIONS = """
    SELECT version, created_at, subject FROM mail_template WHERE template = $1 AND language = $2 ORDER BY version DESC
"""
_SOURCE = """
    SELECT subject, html, text FROM mail_template
    WHERE template = $1 AND language = $2 AND version = $3 AND subject IS NOT NULL
"""
_ADD = """
    INSERT INTO mail_template (template, language, version, subject, html, text)
    SELECT $1, $2, $3::integer + 1, $4, $5, $6
    WHERE $3 = (SELECT coalesce(max(version), 0) FROM mail_template WHERE template = $1 AND language = $2)
    ON CONFLICT DO NOTHING
"""
_TRIM = "DELETE FROM mail_template WHERE template = $1 AND language = $2 AND version <= $3"


async def current() -> list[Override]:
    """Return the templates that are used."""
    return many(Override, await fetch(_CURRENT))


async def versions(template: str, language: str) -> list[Version]:
    """Return the versions of a template that are kept, newest first."""
    return many(Version, await fetch(_VERSIONS, template, language))


async def source(template: str, language: str, version: int) -> Source | None:
    """Return a version; None if there is no such one, or it is the shipped one."""
    return one(Source, await fetchrow(_SOURCE, template, language, version))


async def add(template: str, language: str, expected: int, source: Source | None) -> bool:
    """Add the version after the expected one. Returns False if that is not the newest."""
    parts = (source.subject, source.html, source.text) if source is not None else (None, None, None)
    if not await execute(_ADD, template, language, expected, *parts):
        return False
    await execute(_TRIM, template, language, expected + 1 - KEPT)
    return True


# The list for administrators

MAIL_TEMPLATES = Listing(
    source=_NEWEST,
    columns=f"id, {_COLUMNS}, created_at",
    key=Sort("id"),
    sorts={"id": Sort("id")},
    default_sort="id",
    filters={
        "id": Filter("id = {}", help="One template."),
        "template": Filter("template = {}", help="Of one mail."),
        "language": Filter("language = {}", help="Of one language, or all."),
    },
    where="subject IS NOT NULL",
)
