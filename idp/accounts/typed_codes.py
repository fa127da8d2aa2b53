"""Codes that people type: one way to read them, for every place where one is typed."""

import unicodedata

#: More than any code with its separators. What is longer is not looked at.
MAX_LENGTH = 64


def normalise_code(text: str) -> str:
    """The letters and digits of a code, in lower case; empty if the text is too long for one.

    Digits of all scripts are ASCII digits, as full-width and Arabic-Indic ones are. Spaces, dashes, dots and marks that
    are not seen, as those of bidirectional text, are left out: mail programs and keyboards add them.
    """
    if len(text) > MAX_LENGTH:
        return ""
    found = []
    for character in unicodedata.normalize("NFKC", text):
        digit = unicodedata.decimal(character, None)
        if digit is not None:
            found.append(str(digit))
        else:
            found += [letter for letter in character.lower() if letter.isalnum()]
    return "".join(found)
