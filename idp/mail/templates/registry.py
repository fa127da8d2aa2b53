"""The templates of the console in memory."""

from idp.mail.templates import repository
from idp.mail.templates.models import ALL, Override

#: The topic of changes of the templates.
TOPIC = "mail_templates"


class Overrides:
    """The templates of the console, in one process."""

    def __init__(self) -> None:
        self._by_name: dict[tuple[str, str], Override] = {}

    async def load(self) -> None:
        """Reload all templates. If that fails, the loaded ones stay."""
        self._by_name = {(one.template, one.language): one for one in await repository.current()}

    def find(self, template: str, language: str) -> Override | None:
        """Return the template of a mail for a language."""
        return self._by_name.get((template, language)) or self._by_name.get((template, ALL))

    def get(self, template: str, language: str) -> Override | None:
        """Return exactly the template for a language, or for all."""
        return self._by_name.get((template, language))

    def all(self) -> list[Override]:
        return sorted(self._by_name.values(), key=lambda one: (one.template, one.language))


overrides = Overrides()
