"""Why a directory does not let a user in although the password is right."""

from enum import StrEnum

from idp.federation.errors import UpstreamError
from idp.reasons import Reason


class Problem(StrEnum):
    """A problem of an account in the directory."""

    PASSWORD_EXPIRED = "password_expired"
    DISABLED = "disabled"
    EXPIRED = "expired"
    NOT_NOW = "not_now"
    NOT_HERE = "not_here"


class AccountProblemError(UpstreamError):
    """The password is right, but the account may not be used, or its password must be changed first.

    Only who entered the right password is told.
    """

    reason = Reason.DIRECTORY_ACCOUNT

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"The account in the directory: {problem.replace('_', ' ')}.")
        self.problem = problem
