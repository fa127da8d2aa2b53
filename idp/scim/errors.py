"""The errors of SCIM (RFC 7644 section 3.12), as one family with its ``scimType``."""

from http import HTTPStatus

from idp.errors import DomainError, NotFoundError


class ScimError(DomainError):
    """A request that cannot be answered.

    Attributes:
        scim_type: the ``scimType`` of the response; None if the status says all.
    """

    status = HTTPStatus.BAD_REQUEST
    scim_type: str | None = None


class InvalidSyntaxError(ScimError):
    """The body is not JSON, or not of this message."""

    code = "invalid_syntax"
    scim_type = "invalidSyntax"


class InvalidValueError(ScimError):
    """A value is missing, or not valid for its attribute."""

    code = "invalid_value"
    scim_type = "invalidValue"


class InvalidFilterError(ScimError):
    """The filter is malformed, too long, or compares an attribute in a way that it does not support."""

    code = "invalid_filter"
    scim_type = "invalidFilter"


class InvalidPathError(ScimError):
    """The path of a PATCH operation is malformed, or names no attribute."""

    code = "invalid_path"
    scim_type = "invalidPath"


class NoTargetError(ScimError):
    """The path of a PATCH operation selects nothing that could be changed."""

    code = "no_target"
    scim_type = "noTarget"


class MutabilityError(ScimError):
    """The attribute is read-only."""

    code = "mutability"
    scim_type = "mutability"


class UniquenessError(ScimError):
    """Another resource has this value."""

    code = "uniqueness"
    status = HTTPStatus.CONFLICT
    scim_type = "uniqueness"


class TooManyError(ScimError):
    """The filter would take too long to evaluate."""

    code = "too_many"
    scim_type = "tooMany"


class InvalidCursorError(ScimError):
    """The cursor is not of this list (RFC 9865 section 2.1)."""

    code = "invalid_cursor"
    scim_type = "invalidCursor"


class OutdatedError(ScimError):
    """``If-Match`` names another version."""

    code = "outdated"
    status = HTTPStatus.PRECONDITION_FAILED

    def __init__(self) -> None:
        super().__init__("The resource has another version.")


class NotAllowedError(ScimError):
    """The token may not do this."""

    code = "not_allowed"
    status = HTTPStatus.FORBIDDEN


class UnsupportedMediaTypeError(ScimError):
    """The body is not announced as JSON."""

    code = "unsupported_media_type"
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE

    def __init__(self) -> None:
        super().__init__("Send JSON, as application/scim+json.")


class PayloadTooLargeError(ScimError):
    """A bulk request has too many operations."""

    code = "payload_too_large"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class NotImplementedHereError(ScimError):
    """An endpoint of the specification that this server does not have."""

    code = "not_implemented"
    status = HTTPStatus.NOT_IMPLEMENTED


class UnknownResourceError(NotFoundError):
    """There is no such resource."""

    def __init__(self, id: str = "") -> None:
        super().__init__("There is no such resource.")
