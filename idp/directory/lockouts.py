"""Settings of an organization that would lock people out together: a sign-in policy and enforced domains.

Addresses at an enforced domain sign in at the upstreams of the organization only. A policy that does not allow these
leaves them no way. A policy of passkeys alone does: their users create one after they have signed in there.
"""

from collections.abc import Collection, Sequence
from uuid import UUID

from idp.directory.repository.domains import enforced_domains
from idp.directory.sign_in_policy import SignInPolicy, ways_of
from idp.errors import ConflictError


class LockoutError(ConflictError):
    """People could not sign in for the organization any more.

    Args:
        domains: the enforced domains whose addresses could not.
        own: whether the user who asks has signed in in a way that would not be allowed.
    """

    code = "locks_out"

    def __init__(self, domains: Sequence[str], *, own: bool = False) -> None:
        self.domains, self.own = tuple(domains), own
        sentences = []
        if domains:
            sentences.append(
                f"Addresses at {', '.join(domains)} sign in at the upstreams of the organisation only, and the sign-in"
                " policy does not allow these: they could not sign in for the organisation."
            )
        if own:
            sentences.append("You have signed in in a way that the sign-in policy does not allow.")
        super().__init__(" ".join(sentences))


async def check_policy(organization_id: UUID, policy: SignInPolicy, amr: Collection[str] | None = None) -> None:
    """Check that a sign-in policy locks nobody out. The caller has locked the organization.

    Args:
        amr: how the member who sets it has signed in; None: no member does.

    Raises:
        LockoutError: it would.
    """
    if not policy.ways or policy.passkey_only:
        return
    domains = [] if "upstream" in policy.ways else await enforced_domains(organization_id)
    own = amr is not None and not ways_of(amr) & set(policy.ways)
    if domains or own:
        raise LockoutError(domains, own=own)


def check_domain(domain: str, policy: SignInPolicy) -> None:
    """Check that a domain can be enforced. The caller has locked the organization.

    Raises:
        LockoutError: its addresses could not sign in for the organization.
    """
    if policy.ways and not policy.passkey_only and "upstream" not in policy.ways:
        raise LockoutError([domain])
