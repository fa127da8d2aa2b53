"""Normalisation of typed codes."""

import unicodedata

#: Longer than any code with its separators.
MAX_LENGTH = 64


def normalise_code(text: str) -> str:
    """Return the letters and digits of a code in lower case; an empty string if the text is too long.

    Digits of other scripts, such as full-width and Arabic-Indic digits, become ASCII digits. Spaces, dashes, dots and
    invisible characters are removed, because mail programs and keyboards add them.
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
