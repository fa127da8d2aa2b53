"""A thin SCIM client over the guarded HTTP client: requests, and what a target says in return.

Nothing that a target says is trusted: bodies are bounded, ids and results are checked, redirects are not followed.
"""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from idp.delivery.handlers import DeliveryFailedError
from idp.delivery.stream import retry_after, text_of
from idp.errors import RemoteError
from idp.infra import foreign_json, outbound
from idp.infra.outbound import Answer, CallFailed, Client
from idp.provisioning.documents import get
from idp.provisioning.models import Document, Features

MEDIA_TYPE: Final = "application/scim+json"
#: Bytes of a response that are read in a delivery, and in a check. A longer one is refused.
MAX_BYTES, MAX_CHECKED_BYTES = 900 * 1024, 8 * 1024 * 1024
MAX_ID: Final = 512
NOT_THERE: Final = "There is no SCIM server at its base URL."
#: Seconds for one request.
TIMEOUT_SECONDS: Final = 10.0
#: The largest page of a list that is read.
MAX_PAGE: Final = 1000
#: Resources that we ask for in a page, and the longest cursor.
PAGE, MAX_CURSOR = 100, 4096


class Page(msgspec.Struct, frozen=True):
    """A page of a list.

    Attributes:
        resources: those with an id.
        number: of all that the page has.
        cursor: of the next page; empty: by index, or there is none.
    """

    resources: list[Document]
    number: int
    cursor: str
    is_last: bool


class UnauthorizedError(RemoteError):
    """The target does not accept the token (401). Every request would fail."""


class GoneError(RemoteError):
    """There is no such resource at the target (404)."""


class TakenError(RemoteError):
    """Another resource has one of the values (409)."""


class OutdatedError(RemoteError):
    """The resource has changed since it was read (412)."""


class RefusedError(RemoteError):
    """The target refuses this request, and would refuse it again."""


_BY_STATUS: Final[Mapping[int, type[RemoteError]]] = {
    HTTPStatus.UNAUTHORIZED: UnauthorizedError,
    HTTPStatus.NOT_FOUND: GoneError,
    HTTPStatus.GONE: GoneError,
    HTTPStatus.CONFLICT: TakenError,
    HTTPStatus.PRECONDITION_FAILED: OutdatedError,
}
#: Refusals that can pass: the receiver is paused and asked again.
_PASSING: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


def client() -> Client:
    """Return a client for the requests of a check."""
    return outbound.client(max_bytes=MAX_CHECKED_BYTES + outbound.MAX_BYTES, timeout_seconds=TIMEOUT_SECONDS)


class Remote:
    """The SCIM server of a target.

    Every method may raise :class:`UnauthorizedError`, :class:`RefusedError`, and
    :class:`~idp.delivery.handlers.DeliveryFailedError` if it fails now and may work later.
    """

    def __init__(
        self, http: Client, base_url: str, token: str, features: Features, *, max_bytes: int = MAX_BYTES
    ) -> None:
        self._http, self._base_url, self.features, self._max_bytes = http, base_url, features, max_bytes
        self._headers = {"authorization": f"Bearer {token}", "accept": MEDIA_TYPE, "user-agent": "idp-provisioning"}

    async def _send(self, method: str, path: str, body: Document | None = None, version: str | None = None) -> Document:
        """Send a request and return the resource of the response; empty: it has no body.

        Args:
            version: the entity tag that the resource must have.

        Raises:
            GoneError, TakenError, OutdatedError: by the status.
        """
        headers = dict(self._headers)
        if body is not None:
            headers["content-type"] = MEDIA_TYPE
        if version is not None:
            headers["if-match"] = version
        content = msgspec.json.encode(body) if body is not None else b""
        try:
            answer = await outbound.exchange(
                self._http, method, self._base_url + path, headers, content, read=self._max_bytes
            )
        except CallFailed as error:
            raise DeliveryFailedError(outbound.cause(error)) from error
        _check(answer)
        return _document(answer, self._max_bytes)

    async def read_features(self) -> Features:
        """Return what the target says of itself. One that says nothing is taken for one that can PATCH."""
        try:
            found = await self._send("GET", "/ServiceProviderConfig")
        except (GoneError, RefusedError):
            return Features()

        def supported(name: str) -> Any:
            value = get(found, name)
            return get(value, "supported") if isinstance(value, dict) else None

        pagination = get(found, "pagination")
        cursor = get(pagination, "cursor") if isinstance(pagination, dict) else None
        return Features(patch=supported("patch") is not False, etag=supported("etag") is True, cursor=cursor is True)

    async def find(self, resources: str, attribute: str, value: str, *, caseless: bool = False) -> list[Document]:
        """Return the resources with a value, at most two. Others that the target returns are ignored.

        Args:
            resources: ``/Users`` or ``/Groups``.
            attribute: ``emails`` is searched by its values.
        """
        name = "emails.value" if attribute == "emails" else attribute
        query = urlencode({"filter": f"{name} eq {msgspec.json.encode(value).decode()}", "count": "10"})
        try:
            page = await self._send("GET", f"{resources}?{query}")
        except GoneError as error:
            raise DeliveryFailedError(NOT_THERE) from error
        except RefusedError as error:
            if attribute == "externalId":
                # Not every server can search by it.
                return []
            raise RefusedError(f"It cannot be searched by {attribute}. {error}") from error
        return [each for each in _resources(page) if _has(each, attribute, value, caseless)][:2]

    async def page(self, resources: str, index: int, cursor: str, *, without: str = "") -> Page:
        """Return a page of a list: by cursor if the target offers them (RFC 9865), else by index.

        Args:
            index: of the first resource, beginning with 1.
            cursor: of the page before; empty: the first page.
            without: an attribute that is not needed.
        """
        query = {"count": str(PAGE)}
        query |= {"cursor": cursor} if self.features.cursor else {"startIndex": str(index)}
        if without:
            query["excludedAttributes"] = without
        try:
            found = await self._send("GET", f"{resources}?{urlencode(query)}")
        except GoneError as error:
            raise DeliveryFailedError(NOT_THERE) from error
        listed, total, following = get(found, "Resources"), get(found, "totalResults"), get(found, "nextCursor")
        number = len(listed) if isinstance(listed, list) else 0
        if self.features.cursor:
            fits = isinstance(following, str) and len(following) <= MAX_CURSOR
            return Page(_resources(found), number, following if fits else "", is_last=not (fits and following))
        # One that says more than it has ends with an empty page.
        known = isinstance(total, int) and not isinstance(total, bool)
        is_last = number == 0 or (known and index - 1 + number >= total)
        return Page(_resources(found), number, "", is_last=is_last)

    async def read(self, resources: str, id: str, *, without: str = "") -> Document:
        """Return a resource.

        Args:
            without: an attribute that is not needed, and may be large.

        Raises:
            GoneError: there is none.
        """
        query = f"?excludedAttributes={without}" if without else ""
        return await self._send("GET", f"{resources}/{_quoted(id)}{query}")

    async def create(self, resources: str, document: Document) -> Document:
        """Create a resource and return it, with its id.

        Raises:
            TakenError: another one has one of its values.
        """
        try:
            return await self._send("POST", resources, document)
        except GoneError as error:
            raise DeliveryFailedError(NOT_THERE) from error

    async def replace(self, resources: str, id: str, document: Document, version: str | None = None) -> Document:
        """Replace a resource.

        Raises:
            GoneError, TakenError, OutdatedError: as the status says.
        """
        return await self._send("PUT", f"{resources}/{_quoted(id)}", document, version)

    async def patch(self, resources: str, id: str, document: Document, version: str | None = None) -> Document:
        """Change a resource.

        Raises:
            GoneError, TakenError, OutdatedError: as the status says.
        """
        return await self._send("PATCH", f"{resources}/{_quoted(id)}", document, version)

    async def delete(self, resources: str, id: str) -> None:
        """Delete a resource. One that is gone is deleted.

        Raises:
            RefusedError: it deletes none.
        """
        try:
            await self._send("DELETE", f"{resources}/{_quoted(id)}")
        except GoneError:
            return

    def version_of(self, document: Document) -> str | None:
        """Return the entity tag of a resource, if the target compares it."""
        meta = get(document, "meta")
        version = get(meta, "version") if self.features.etag and isinstance(meta, dict) else None
        fits = isinstance(version, str) and 0 < len(version) <= MAX_ID and version.isascii() and version.isprintable()
        return version if fits else None


def _check(answer: Answer) -> None:
    """Raise the error of a response that is none of success."""
    if answer.is_success:
        return
    text = text_of(answer)
    if answer.status in _BY_STATUS:
        raise _BY_STATUS[answer.status](text)
    if answer.status in _PASSING or not 400 <= answer.status < 500:
        raise DeliveryFailedError(text, retry_after(answer))
    raise RefusedError(text)


def _document(answer: Answer, max_bytes: int) -> Document:
    if len(answer.body) >= max_bytes:
        raise DeliveryFailedError("Its response is too long.")
    if answer.status == HTTPStatus.NO_CONTENT or not answer.body.strip():
        return {}
    try:
        found = foreign_json.decode(answer.body)
    except ValueError as error:
        raise DeliveryFailedError("Its response is not JSON.") from error
    if not isinstance(found, dict):
        raise DeliveryFailedError("Its response is not a SCIM resource.")
    return found


def _quoted(id: str) -> str:
    return quote(id, safe="")


def id_of(document: Mapping[str, Any]) -> str | None:
    """Return the id of a resource, if it is one that can be stored and asked for."""
    found = document.get("id")
    fits = isinstance(found, str) and 0 < len(found) <= MAX_ID and found.isprintable() and found not in (".", "..")
    return found if fits else None


def _resources(page: Document) -> list[Document]:
    """Return the resources of a list that have an id."""
    found = get(page, "Resources")
    if not isinstance(found, list):
        found = []
    if len(found) > MAX_PAGE:
        raise DeliveryFailedError(f"A page of its lists has more than {MAX_PAGE} resources.")
    return [each for each in found if isinstance(each, dict) and id_of(each) is not None]


def _has(document: Document, attribute: str, value: str, caseless: bool) -> bool:
    found = get(document, attribute)
    elements = found if attribute == "emails" and isinstance(found, list) else [found]
    texts = [get(each, "value") if isinstance(each, dict) else each for each in elements]
    fold: Callable[[str], str] = str.casefold if caseless else str
    return any(isinstance(text, str) and fold(text) == fold(value) for text in texts)
