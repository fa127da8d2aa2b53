"""One file for each way to sign in.

Each module has the three functions of :class:`AuthenticationMethod`. To add one: its file here, its step in
:mod:`idp.signin.transitions`, and its line in :data:`idp.signin.service.AUTHENTICATION_METHODS`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from idp.errors import ProofError
from idp.federation.models import UpstreamSession
from idp.reasons import Reason
from idp.signin.browser import Browser
from idp.signin.flow import Flow
from idp.signin.transitions import CompletedStep

#: The values that the user entered, or an app sent.
Fields = Mapping[str, str]


class StepRefusedError(ProofError):
    """The entered value is not a valid proof. The message is one sentence for the user.

    Attributes:
        user_id: the account that was tried, if known, for the audit trail. The user is not told.
        field: the name of the field with the value, where the page has several.
        unavailable: nothing was entered wrong, but what would verify it does not answer.
    """

    def __init__(
        self,
        message: str,
        user_id: UUID | None = None,
        *,
        reason: Reason | None = Reason.INVALID_INPUT,
        field: str = "",
        unavailable: bool = False,
    ) -> None:
        super().__init__(message, reason)
        self.user_id = user_id
        self.field = field
        self.unavailable = unavailable


class VerifiedStep(NamedTuple):
    """A step that was completed, and its user.

    Attributes:
        flow: the flow as it is now, if the step changed it.
        user_locked: the step locked the user already (:func:`idp.accounts.repository.users.lock_user`).
        recovery_codes: codes that were generated with it, to be shown once.
        upstream: the session at an upstream provider that it was proved with.
    """

    user_id: UUID
    step: CompletedStep
    flow: Flow | None = None
    recovery_codes: tuple[str, ...] = ()
    user_locked: bool = False
    upstream: UpstreamSession | None = None


class AuthenticationMethod(Protocol):
    """A way to sign in."""

    async def context(self, flow: Flow, entered: Fields, /) -> dict[str, Any]:
        """Return the values that the template of the step needs besides the flow.

        Args:
            entered: values that were refused and are shown again.
        """

    async def verify(self, flow: Flow, fields: Fields, browser: Browser, /) -> Any:
        """Check the entered values, outside of any transaction. Slow work such as hashing belongs here.

        It first counts the attempt, by one function of :mod:`idp.signin.limits` that decides all limits together.

        Returns:
            what :meth:`complete` needs.

        Raises:
            StepRefusedError: an entered value is wrong.
            TooManyRequestsError: there were too many attempts.
        """

    async def complete(self, flow: Flow, entered: Any, /) -> VerifiedStep | None:
        """Consume the proof, in the transaction that notes the step. None if the step needs more.

        The user is locked before, if the flow knows the user.

        Raises:
            StepRefusedError: the proof is not valid. The transaction commits, so the counted attempt is kept.
        """
