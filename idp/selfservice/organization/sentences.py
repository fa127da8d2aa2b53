"""Sentences of the pages of an organization: why something cannot be done, and what was done."""

from idp.accounts.addresses import InvalidEmailError
from idp.directory import errors
from idp.directory.lockouts import LockoutError
from idp.directory.names import InvalidNameError
from idp.errors import DomainError, VersionConflictError
from idp.infra.i18n import gettext as _
from idp.scim.tokens import TooManyTokensError


def sentence(error: DomainError) -> str:
    """Return the sentence for an error, in the language of the page."""
    if isinstance(error, LockoutError):
        return _locked_out(error)
    sentences: dict[type[DomainError], str] = {
        InvalidNameError: _(
            "Enter up to 100 visible characters on one line, in one alphabet, without spaces at either end."
        ),
        InvalidEmailError: _("This is not a valid address. Check it."),
        errors.NameTakenError: _("Another role has this name, or one that looks like it."),
        errors.TooManyRolesError: _("The organisation has too many roles. Delete one first."),
        errors.CycleError: _("A role cannot contain itself, neither directly nor through others."),
        errors.NotMemberError: _("The organisation has no member with this address."),
        errors.LastAdminError: _("No one else manages the organisation. Let another member manage it first."),
        errors.ManagedAccountError: _(
            "The organisation manages your account through its directory. Ask another administrator to remove you."
        ),
        errors.AlreadyInvitedError: _("The address has an open invitation already, or too many others have."),
        errors.AlreadyMemberError: _("The person with this address is already a member."),
        errors.UnknownInvitationError: _("The invitation was used, declined or revoked."),
        errors.UnknownRoleError: _("This role no longer exists. Choose another one."),
        errors.DomainClaimedError: _("The organisation has claimed this domain already, or too many."),
        errors.DomainEnforcedError: _(
            "The domain is enforced. Ask the people who run this service to release it first."
        ),
        errors.DomainTakenError: _("Another organisation has verified this domain."),
        errors.DomainNotVerifiedError: _(
            "The record was not found. It can take a while until a new one is seen everywhere. Try again later."
        ),
        TooManyTokensError: _("The organisation has too many SCIM tokens. Revoke one first."),
        VersionConflictError: _("It has been changed in the meantime. Check it again."),
    }
    return next(
        (text for kind, text in sentences.items() if isinstance(error, kind)),
        _("This cannot be done now. Try again, or ask the administrators of the server."),
    )


def _locked_out(error: LockoutError) -> str:
    domains = _(
        "Addresses at %(domains)s sign in at the provider of the organisation only. The policy does not allow that, so"
        " they could not sign in for the organisation.",
        domains=", ".join(error.domains),
    )
    own = _("The way you signed in is not allowed by this policy.")
    return " ".join([*([domains] if error.domains else []), *([own] if error.own else [])])


def notice(what: str) -> str | None:
    """Return the sentence for what was done."""
    return {
        "added": _("The member is added."),
        "removed": _("The member is removed."),
        "reactivated": _("The membership is active again."),
        "admin": _("The member manages the organisation from now on."),
        "no-admin": _("The member no longer manages the organisation."),
        "given": _("The role is given."),
        "taken": _("The role is removed."),
        "role": _("The role is created."),
        "saved": _("Saved."),
        "contained": _("The role contains it from now on."),
        "released": _("The role no longer contains it."),
        "deleted": _("The role is deleted."),
        "claimed": _("The domain is claimed. Publish the record, then check for it."),
        "verified": _("The record was found. The domain belongs to the organisation."),
        "invited": _("The invitations were sent."),
        "invited-again": _("The invitation was sent again. The earlier link no longer works."),
        "revoked": _("The invitation is revoked."),
        "token-revoked": _("The token is revoked."),
        "domain-removed": _("The domain is removed."),
    }.get(what)
