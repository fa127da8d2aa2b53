"""Checks passwords against known breaches by a range query, which reveals 5 of 40 digits of the SHA-1.

If the service fails or sends an invalid response, the password is accepted.
"""

import hashlib
import re

import structlog

from idp.infra import outbound
from idp.settings import settings

log = structlog.get_logger()

TIMEOUT_SECONDS = 2.0
#: A padded response has about a thousand lines of 40 bytes.
MAX_RESPONSE_BYTES = 256 * 1024

_RESPONSE = re.compile(rb"(?:[0-9A-F]{35}:[0-9]{1,12}(?:\r?\n|\Z))*")


async def is_breached(password: str) -> bool:
    """Return whether the configured service knows the password. False if there is no service, or it fails.

    Args:
        password: normalised (NFKC).
    """
    url = settings().breached_passwords_url
    if url is None:
        return False
    # SHA-1 is prescribed by the service. Security does not depend on it.
    digest = hashlib.sha1(password.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest().upper()
    try:
        # Padding hides which range was queried from observers of the response length.
        answer = await outbound.get(
            url + digest[:5], {"Add-Padding": "true"}, timeout_seconds=TIMEOUT_SECONDS, max_bytes=MAX_RESPONSE_BYTES
        )
    except outbound.CallFailed as error:
        log.warning("breach_check_failed", **outbound.failure_fields(error))
        return False
    if not _RESPONSE.fullmatch(answer):
        log.warning("breach_check_failed", reason="The answer is not a list of hashes.")
        return False
    # Padding lines have a count of 0.
    return re.search(rb"^%b:0*[1-9]" % digest[5:].encode(), answer, re.MULTILINE) is not None
