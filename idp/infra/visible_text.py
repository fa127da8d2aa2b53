"""Texts that pages show as a name: one visible line, in letters of one alphabet."""

import re
import unicodedata

#: Letters and marks that are rendered as nothing or as a space: two addresses, or two names, could look the same. Other
#: checks reject control and format characters.
INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)
#: Alphabets with letters that look alike. A name has letters of one of them only.
_ALIKE = frozenset({"LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "CHEROKEE", "COPTIC"})


def is_line(text: str, limit: int) -> bool:
    """Return whether a text is one line of visible characters, without spaces around it and within a length."""
    return 1 <= len(text) <= limit and text == text.strip() and text.isprintable() and not INVISIBLE.search(text)


def mixes_alphabets(text: str) -> bool:
    """Return whether a text has letters of several alphabets that look alike."""
    return len({unicodedata.name(letter, "").partition(" ")[0] for letter in text} & _ALIKE) > 1
