"""Names that users of a directory sign in by."""

import unicodedata
from typing import Final

MAX_LENGTH: Final = 254


def normalise(text: str) -> str | None:
    """Return what the user entered in one spelling. None: no directory has such a name.

    Directories compare names by rules of their own, which ignore case and more. In one spelling the attempts at an
    account are counted together.
    """
    if len(text) > MAX_LENGTH:
        return None
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).strip()
    return folded if 0 < len(folded) <= MAX_LENGTH and folded.isprintable() else None
