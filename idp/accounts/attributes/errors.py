"""The errors of attributes and their values."""

from collections.abc import Sequence
from http import HTTPStatus

from idp.errors import ConflictError, NotFoundError, PermissionDeniedError, ValidationError


class InvalidAttributeError(ValidationError):
    """The declaration of an attribute is not valid.

    Attributes:
        field: the member that is wrong, if it is one.
    """

    code = "invalid_attribute"

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class AttributeInUseError(ConflictError):
    """The access policy of a client names the attribute.

    Args:
        clients: their names.
    """

    def __init__(self, clients: Sequence[str]) -> None:
        super().__init__(f"The access policy of {' and of '.join(clients)} names this attribute. Change it first.")


class AttributeBeingDeletedError(ConflictError):
    """The values of an earlier attribute with the name are not deleted yet."""

    code = "attribute_being_deleted"

    def __init__(self) -> None:
        super().__init__("The values of an earlier attribute with this name are still being deleted. Try again later.")


class NotSearchableYetError(ConflictError):
    """The values of an attribute are being made searchable."""

    code = "not_searchable_yet"

    def __init__(self, name: str) -> None:
        super().__init__(f"The attribute {name} is not searchable yet: its values are being indexed. Try again later.")


class UnknownAttributeError(NotFoundError):
    """There is no such attribute."""

    def __init__(self) -> None:
        super().__init__("There is no attribute with this name.")


class InvalidValueError(ValidationError):
    """A value is not one of its attribute. The message is one sentence for the person.

    Attributes:
        field: the name of the attribute.
    """

    code = "invalid_value"
    field: str

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class UndeclaredError(InvalidValueError):
    """A value of an attribute that is not declared."""

    def __init__(self, field: str) -> None:
        super().__init__(field, "There is no attribute with this name.")


class NotEditableError(PermissionDeniedError):
    """This attribute is edited by others."""

    status = HTTPStatus.FORBIDDEN

    def __init__(self) -> None:
        super().__init__("One of the attributes is edited by others.")
