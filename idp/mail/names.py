"""Names that users and applications chose for themselves, and addresses, in mails."""

import re

#: Maximum length of a name, in characters.
MAX_NAME_LENGTH = 60
#: Begins an encoded word (RFC 2047 section 2), which libraries and mail programs decode to other characters.
ENCODED_WORD = "=?"
#: Parts of a URL, an email address or a telephone number.
_NO_NAME = re.compile(r"[/\\@:<>\[\]]|\bwww\b|\w\.\w{2,}|(?:\d[ .()-]*){5}", re.IGNORECASE)


def suitable_name(name: object) -> str | None:
    """Return a name that a user chose for themselves, or for their application; None if a mail must not repeat it.

    Attackers choose names that turn a mail into their message. A name is not used if it
    has invisible or bidirectional control characters, contains an address or a number, or is too long.
    """
    if not isinstance(name, str) or len(name) > MAX_NAME_LENGTH or not name.isprintable() or _NO_NAME.search(name):
        return None
    return name
