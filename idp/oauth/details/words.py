"""Authorization details in words, for the consent page and the account pages. The templates escape them."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Any, NamedTuple

from idp.infra.visible_text import INVISIBLE
from idp.oauth.clients.metadata import EMOJI_SELECTOR
from idp.oauth.clients.registry import registry
from idp.oauth.details.models import Detail, Details, DetailsType

#: A placeholder of a summary, such as ``{amount.value}``.
_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
MISSING = "\N{EN DASH}"


class DetailInWords(NamedTuple):
    """An object of authorization details for people.

    Attributes:
        title: what it allows, in the words of the operator.
        sentence: the summary with values of the object; may be empty.
        resource: the identifier of the resource server.
        facts: every member of the object, by its path, so that nothing is allowed unseen.
    """

    title: str
    sentence: str
    resource: str
    facts: list[tuple[str, str]]


def describe(details: Details) -> list[DetailInWords]:
    """Return details in words, without those of types that no longer exist."""
    found = ((registry.details_type(detail["type"]), detail) for detail in details)
    return [in_words(kind, detail) for kind, detail in found if kind is not None]


def in_words(kind: DetailsType, detail: Detail) -> DetailInWords:
    """Return an object of a type in words."""
    sentence = _PLACEHOLDER.sub(lambda match: _isolated(_text(_find(detail, match[1].split(".")))), kind.summary)
    facts = [(path, text) for name, value in detail.items() if name != "type" for path, text in _facts(name, value)]
    return DetailInWords(kind.title, sentence, kind.resource, facts)


def _find(value: Any, path: list[str]) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _text(value: object) -> str:
    """Return a value as one line. Characters that cannot be seen, or that change the text around, are replaced."""
    if value is None:
        return MISSING
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or MISSING
    if isinstance(value, dict):
        return ", ".join(f"{_text(name)}: {_text(inner)}" for name, inner in value.items()) or MISSING
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
    return "".join(character if _is_seen(character) else "\N{REPLACEMENT CHARACTER}" for character in text)


def _is_seen(character: str) -> bool:
    return character.isprintable() and (character == EMOJI_SELECTOR or not INVISIBLE.match(character))


def _isolated(text: str) -> str:
    """Return a value so that it does not change the order of the sentence around it, such as of two amounts. Letters
    that are written from right to left do, without any control character (Unicode Standard Annex #9).
    """
    turns = any(unicodedata.bidirectional(character) in ("R", "AL", "AN") for character in text)
    return f"\N{FIRST STRONG ISOLATE}{text}\N{POP DIRECTIONAL ISOLATE}" if turns else text


def _facts(path: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _facts(f"{path}.{name}", inner)
    else:
        yield _text(path), _text(value)
