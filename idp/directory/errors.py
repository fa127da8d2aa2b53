"""The errors of groups, organizations and roles."""

from collections.abc import Sequence

from idp.errors import ConflictError, NotFoundError, ValidationError


class UnknownGroupError(NotFoundError):
    """There is no such group."""

    def __init__(self) -> None:
        super().__init__("There is no such group.")


class UnknownRoleError(NotFoundError):
    """There is no such role."""

    def __init__(self) -> None:
        super().__init__("There is no such role.")


class UnknownClientError(NotFoundError):
    """There is no such client."""

    def __init__(self) -> None:
        super().__init__("There is no such client.")


class UnknownMemberError(NotFoundError):
    """There is no such user."""

    def __init__(self) -> None:
        super().__init__("There is no such user.")


class UnknownOrganizationError(NotFoundError):
    """There is no such organisation."""

    def __init__(self) -> None:
        super().__init__("There is no such organisation.")


class NotMemberError(ConflictError):
    """A user is not a member of the organization."""

    def __init__(self) -> None:
        super().__init__("The user is not a member of the organisation.")


class LastAdminError(ConflictError):
    """An organization would be left without a member who manages it."""

    code = "last_admin"

    def __init__(self) -> None:
        super().__init__("No one else manages the organisation. Let another member manage it first.")


class ManagedAccountError(ConflictError):
    """A user cannot leave the organization whose SCIM client made the account."""

    def __init__(self) -> None:
        super().__init__("The organisation manages the account.")


class UnknownDomainError(NotFoundError):
    """There is no such domain."""

    def __init__(self) -> None:
        super().__init__("There is no such domain.")


class DomainClaimedError(ConflictError):
    """The organization claims this domain already, or claims too many."""


class DomainEnforcedError(ConflictError):
    """The domain is enforced, and only administrators of the server release it."""

    code = "wrong_state"

    def __init__(self) -> None:
        super().__init__("The domain is enforced. Ask the people who run this service to release it first.")


class DomainTakenError(ConflictError):
    """Another organization has verified this domain."""

    code = "domain_taken"

    def __init__(self) -> None:
        super().__init__("Another organisation has verified this domain.")


class DomainNotVerifiedError(ConflictError):
    """The domain is not verified: the record is missing, or was not looked for."""

    code = "domain_not_verified"


class OrganizationDisabledError(ConflictError):
    """The organization is disabled."""

    def __init__(self) -> None:
        super().__init__("The organisation is disabled.")


class UnknownInvitationError(NotFoundError):
    """There is no such invitation."""

    def __init__(self) -> None:
        super().__init__("There is no such invitation.")


class AlreadyInvitedError(ConflictError):
    """The address has an open invitation, or the organization has too many."""

    code = "already_invited"


class AlreadyMemberError(ConflictError):
    """The user with this address is a member already."""

    code = "already_member"

    def __init__(self) -> None:
        super().__init__("The user with this address is a member of the organisation.")


class InvitationEndedError(ConflictError):
    """The invitation is not open, or its organization is disabled."""

    code = "invitation_ended"

    def __init__(self) -> None:
        super().__init__("The invitation was used, declined or revoked, or is too old.")


class NotInvitedError(ConflictError):
    """The invitation is for another address, or the user has not proved that the address is theirs."""

    code = "not_invited"

    def __init__(self) -> None:
        super().__init__("The invitation is for another address, or the address is not confirmed.")


class SlugTakenError(ConflictError):
    """Another organisation has this slug."""


class OtherOwnerError(ConflictError):
    """A role of an organization would be given to others than its members."""


class NameTakenError(ConflictError):
    """Another group or role has this name, or one that looks like it."""


class TooManyRolesError(ConflictError):
    """An organization has too many roles."""


class CycleError(ConflictError):
    """A group would be below itself, or a role would contain itself."""


class TooDeepError(ValidationError):
    """A group would be below too many others."""


class NotEmptyError(ConflictError):
    """Other groups are in this group."""


class InUseError(ConflictError):
    """The access policy of a client names the group, the role or the organization, so that it cannot be deleted.

    Args:
        clients: their names.
    """

    def __init__(self, what: str, clients: Sequence[str]) -> None:
        super().__init__(f"The access policy of {' and of '.join(clients)} names this {what}. Change it first.")
