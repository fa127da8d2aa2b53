"""Whether a password is known from a breach: a range query, in which the service learns 5 of 40 digits of its SHA-1.

The service is not trusted with more than advice: when it does not answer, or nonsense, the password passes.
"""

import hashlib
import re

import structlog

from idp.infra import outbound
from idp.settings import settings

log = structlog.get_logger()

TIMEOUT_SECONDS = 2.0
#: Of an answer, in bytes. A padded one has about a thousand lines of 40.
MAX_RESPONSE_BYTES = 256 * 1024

_RESPONSE = re.compile(rb"(?:[0-9A-F]{35}:[0-9]{1,12}(?:\r?\n|\Z))*")


async def is_breached(password: str) -> bool:
    """Ask the service of the settings. Without one, or where it fails, the answer is no.

    Args:
        password: in the form in which it is hashed (NFKC).
    """
    url = settings().breached_passwords_url
    if url is None:
        return False
    # The service's choice, and no secret: nothing rests on this hash being strong.
    digest = hashlib.sha1(password.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest().upper()
    try:
        # Padding hides from whoever sees the length of the answer which range it is.
        answer = await outbound.get(
            url + digest[:5], {"Add-Padding": "true"}, timeout_seconds=TIMEOUT_SECONDS, max_bytes=MAX_RESPONSE_BYTES
        )
    except outbound.CallFailed as error:
        log.warning("breach_check_failed", error=type(error).__qualname__)
        return False
    if not _RESPONSE.fullmatch(answer):
        log.warning("breach_check_failed", reason="The answer is not a list of hashes.")
        return False
    # Padding is lines that count 0.
    return re.search(rb"^%b:0*[1-9]" % digest[5:].encode(), answer, re.MULTILINE) is not None
