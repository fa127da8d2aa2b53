"""One file a way to sign in.

Each module has the three functions of :class:`AuthenticationMethod`, and its place in :mod:`idp.signin.transitions`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from litestar import Request

from idp.errors import ProofError
from idp.reasons import Reason
from idp.signin.flow import Flow
from idp.signin.subject import SignInSubject
from idp.signin.transitions import CompletedStep

Browser = Request[Any, Any, Any]
#: What the person entered, or an application sent for them.
Fields = Mapping[str, str]


class StepRefusedError(ProofError):
    """What was entered does not prove anything. The message is one plain sentence for the person.

    Attributes:
        user_id: whose account it was about, where that is known here. The person is not told.
    """

    def __init__(
        self, message: str, user_id: UUID | None = None, *, reason: Reason | None = Reason.INVALID_INPUT
    ) -> None:
        super().__init__(message, reason)
        self.user_id = user_id


class VerifiedStep(NamedTuple):
    """That a step was taken, and by whom.

    Attributes:
        by: how they stood when it was proved, where this is all that it stands on and nothing is used up by it.
        flow: the flow as it is by now, where the step changed what it keeps.
        codes: recovery codes that were made with it, to be shown once.
    """

    user_id: UUID
    done: CompletedStep
    by: SignInSubject | None = None
    flow: Flow | None = None
    codes: tuple[str, ...] = ()


class AuthenticationMethod(Protocol):
    """A way to sign in."""

    async def context(self, flow: Flow, /) -> dict[str, Any]:
        """What the page of this step needs besides the flow."""

    async def verify(self, flow: Flow, fields: Fields, browser: Browser | None, /) -> Any:
        """The part that takes long or counts, outside of any transaction. It may be a :class:`VerifiedStep` at once.

        It counts the step before it does anything else: by one function of :mod:`idp.signin.limits`, which decides
        all limits of the step together.

        Args:
            browser: the request of a browser; None where an app asks.

        Raises:
            StepRefusedError: what was entered cannot be right.
            TooManyRequestsError: there were too many.
        """

    async def complete(self, flow: Flow, entered: Any, /) -> VerifiedStep | None:
        """The part that is done once, in the transaction that notes the step. None: there is more to do in this step.

        Raises:
            StepRefusedError: it is not right. What was counted is kept nevertheless.
        """
