"""Checks the form of the Host header. Its value is ignored, because no URL is built from it (``IDP_ISSUER``)."""

import re
from http import HTTPStatus

from litestar.exceptions import HTTPException
from litestar.types import HTTPScope

#: ``uri-host [":" port]`` (RFC 9110 section 7.2, RFC 3986 section 3.2.2). Possessive, so that it never backtracks.
_HOST = re.compile(
    rb"(?:\[(?:[0-9A-Fa-f:.]+|v[0-9A-Fa-f]+\.[A-Za-z0-9._~!$&'()*+,;=:-]+)\]"
    rb"|(?:[A-Za-z0-9._~!$&'()*+,;=-]++|%[0-9A-Fa-f]{2})++)(?::[0-9]*)?"
)


def check_host(scope: HTTPScope) -> None:
    """Refuse a request that a proxy may send to another host than it names (RFC 9112 section 3.2).

    Raises:
        HTTPException: 400, the header is repeated or malformed, or missing in HTTP/1.1.
    """
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if len(hosts) == 1 and _HOST.fullmatch(hosts[0]) is not None:
        return
    # For a request without the header Granian passes an empty one, which no http URI has either (RFC 9110 section
    # 4.2.1).
    if scope["http_version"] == "1.1" or hosts not in ([], [b""]):
        raise HTTPException(status_code=HTTPStatus.BAD_REQUEST)
