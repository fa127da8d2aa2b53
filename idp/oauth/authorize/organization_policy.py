"""The sign-in policy of the organization that a user signs in for, where a browser or an app of the user comes.

It is known only when the user is, and has chosen: a request that names an organization tells nobody what the policy of
that organization is. A session that does not meet it leads to another sign-in, as the ``acr`` and the ``max_age`` of a
client do. Of both, the stricter one counts.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from idp.directory.models import OrganizationMembership
from idp.directory.sign_in_policy import SignInPolicy
from idp.oauth.authorize.acr import AcrRequest, reaches
from idp.reasons import Reason
from idp.signin.flow import Display
from idp.signin.sessions import SignedIn
from idp.signin.transitions import ACR_VALUES, MULTI_FACTOR, PHISHING_RESISTANT, SINGLE_FACTOR


def unmet(membership: OrganizationMembership | None, session: SignedIn) -> Reason | None:
    """Return why a session does not meet the policy of an organization; None: it does, or there is none."""
    if membership is None:
        return None
    return membership.policy.unmet(acr=session.acr, amr=session.amr, age=session.age(), pause=session.pause)


def level(policy: SignInPolicy) -> str:
    """Return the ``acr`` that a policy needs."""
    if policy.passkey_only:
        return PHISHING_RESISTANT
    return MULTI_FACTOR if policy.second_factor else SINGLE_FACTOR


def sign_in(
    membership: OrganizationMembership,
    session: SignedIn,
    *,
    display: Display,
    wanted: AcrRequest,
    max_age: int | None,
) -> Mapping[str, Any]:
    """Return the arguments of :func:`idp.signin.flow.start` for the sign-in that the policy asks for.

    If only a factor is missing, it continues the session. Otherwise the user signs in again, in one of the ways.

    Args:
        display, wanted, max_age: those of the client and the request.
    """
    policy, needed = membership.policy, level(membership.policy)
    idle = policy.session_idle if policy.session_idle is not None and session.pause >= policy.session_idle else None
    ages = [age for age in (max_age, policy.session_max_age, idle) if age is not None]
    return {
        "display": msgspec.structs.replace(
            display,
            organization=_name(display, membership),
            # Its upstreams are offered, also if the user has chosen it and the request names none.
            organization_named=str(membership.id),
        ),
        "acr": max(wanted.acr, needed, key=ACR_VALUES.index),
        "required": max(wanted.essential, needed, key=ACR_VALUES.index),
        "max_age": min(ages) if ages else None,
        "step_up": session if _needs_factor_only(policy, session) else None,
        # Without a passkey, the user signs in otherwise, and sets one up.
        "ways": () if policy.passkey_only else policy.ways,
    }


def _name(display: Display, membership: OrganizationMembership) -> str:
    """Return the name that the pages show of the organization."""
    brand = display.brand
    return brand.name if brand is not None and brand.owner == "organization" else membership.name


def _needs_factor_only(policy: SignInPolicy, session: SignedIn) -> bool:
    """Return whether a step-up of a session is sufficient: it is young, and it is only the level that is too low. A
    missing passkey is a missing level, if it is the only way.
    """
    ways = () if policy.passkey_only else policy.ways
    rest = msgspec.structs.replace(policy, second_factor=False, ways=ways)
    young = rest.unmet(acr=session.acr, amr=session.amr, age=session.age(), pause=session.pause) is None
    return young and not reaches(session.acr, level(policy))
