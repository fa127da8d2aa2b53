"""The order in which the ways to sign in are offered. It is decided here and nowhere else."""

from collections.abc import Iterable, Sequence

from idp.signin.transitions import Step

#: The strongest way first: a passkey cannot be phished. The page itself asks for the password, so that it works without
#: JavaScript and with any password manager.
USUAL = (
    Step.PASSKEY,
    Step.PASSWORD,
    Step.UPSTREAM,
    Step.EMAIL_CODE,
    Step.TOTP,
    Step.RECOVERY_CODE,
    Step.REGISTRATION,
)


def ordered(steps: Iterable[Step], first: Sequence[Step] = ()) -> list[Step]:
    """Return steps in the order in which a page offers them.

    Args:
        first: those that come before the others, in this order.
    """
    ranking = {step: rank for rank, step in enumerate(dict.fromkeys((*first, *USUAL)))}
    return sorted(steps, key=lambda step: ranking.get(step, len(ranking)))


def first(allowed: Sequence[Step], preferred: Sequence[Step] = ()) -> list[Step]:
    """Return allowed steps with the one first whose page a sign-in begins with.

    The page of the password also offers passkeys and providers, so only another one goes before it.
    """
    found = list(allowed)
    if preferred and preferred[0] is Step.EMAIL_CODE and Step.EMAIL_CODE in found:
        found.remove(Step.EMAIL_CODE)
        found.insert(0, Step.EMAIL_CODE)
    return found
