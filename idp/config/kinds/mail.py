"""Mail templates of the console."""

from collections.abc import Collection
from typing import Any, ClassVar

import msgspec

from idp.config.kinds.base import Kind
from idp.mail.templates import checks, customization, repository
from idp.mail.templates.models import ALL, Source
from idp.mail.templates.registry import TOPIC


class MailTemplateEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The template of a mail, for a language or for all."""

    template: str
    language: str = ALL
    subject: str
    html: str
    text: str


class MailTemplates(Kind):
    """Mail templates that replace the shipped ones."""

    section = "mail_templates"
    model: ClassVar[Any] = MailTemplateEntry
    key = ("template", "language")
    topics = (TOPIC,)

    async def read(self) -> list[Any]:
        return [
            MailTemplateEntry(
                template=one.template, language=one.language, subject=one.subject, html=one.html, text=one.text
            )
            for one in await repository.current()
        ]

    def normal(self, entry: Any, named: Collection[str]) -> Any:
        customization.check_name(entry.template, entry.language)
        source = customization.normalised(_source(entry))
        return msgspec.structs.replace(entry, subject=source.subject, html=source.html, text=source.text)

    def check(self, entry: Any) -> None:
        checks.check(entry.template, entry.language, _source(entry))

    async def create(self, entry: Any, secret: str | None) -> None:
        await customization.set_template(entry.template, entry.language, _source(entry))

    async def update(self, before: Any, after: Any, changed: Collection[str]) -> None:
        await self.create(after, None)

    async def delete(self, entry: Any) -> None:
        await customization.reset(entry.template, entry.language)

    async def losses(self, entry: Any) -> str:
        return "The shipped template is used then."


def _source(entry: Any) -> Source:
    return Source(entry.subject, entry.html, entry.text)
