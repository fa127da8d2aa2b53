"""JSON Schemas (draft 2020-12) and regular expressions. The only module that imports jsonschema_rs.

References to other documents are not fetched. Patterns are matched in linear time, so that no pattern and no value
can keep the event loop busy.
"""

import json
from functools import lru_cache
from typing import TYPE_CHECKING

from idp.infra.lazy import lazy

if TYPE_CHECKING:
    import jsonschema_rs
else:
    jsonschema_rs = lazy("jsonschema_rs")

#: Maximum size of a compiled pattern, in bytes. The time of a match is proportional to it and to the text.
_MAX_PATTERN_SIZE = 64 * 1024


@lru_cache(maxsize=256)
def validator(schema: str) -> "jsonschema_rs.Draft202012Validator":
    """Return the validator of a schema.

    Raises:
        ValueError: it is not a schema, refers to another document, or has a pattern that cannot be matched in linear
            time.
    """
    options = jsonschema_rs.RegexOptions()
    return jsonschema_rs.Draft202012Validator(json.loads(schema), offline=True, pattern_options=options)


@lru_cache(maxsize=256)
def _pattern(pattern: str) -> "jsonschema_rs.Draft202012Validator":
    options = jsonschema_rs.RegexOptions(size_limit=_MAX_PATTERN_SIZE)
    return jsonschema_rs.Draft202012Validator({"pattern": pattern}, offline=True, pattern_options=options)


def is_pattern(pattern: str) -> bool:
    """Return whether a regular expression can be matched in linear time, by a small automaton."""
    try:
        # Alone, because one with a parenthesis too many could be valid only inside of others.
        _pattern(pattern)
        _pattern(_whole(pattern))
    except ValueError:
        return False
    return True


def matches(pattern: str, text: str) -> bool:
    """Return whether the whole text matches a pattern that :func:`is_pattern` accepted."""
    return _pattern(_whole(pattern)).is_valid(text)


def _whole(pattern: str) -> str:
    return f"^(?:{pattern})$"
