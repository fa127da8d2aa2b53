"""A user with every second factor, and their codes."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import pyotp
import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import execute
from idp.signin.factors import passkeys, recovery_codes, totp
from idp.signin.factors import service as factors
from idp.signin.transitions import Step
from tests.support.authenticator import Authenticator

_CHALLENGE = b"a challenge of thirty-two bytes.."


@dataclass
class Person:
    """A user with the means to take second steps.

    Attributes:
        app: the authenticator app, if there is one.
        codes: unused recovery codes.
        device: the authenticator that holds the passkey, if there is one.
    """

    user: User
    app: pyotp.TOTP | None = None
    codes: list[str] = field(default_factory=list)
    device: Authenticator | None = None

    async def otp(self) -> str:
        """Return the current code of the app, which is accepted even if it was used within this minute."""
        assert self.app is not None
        await execute("UPDATE totp SET last_step = 0 WHERE user_id = $1", self.user.id)
        return self.app.now()


async def equip(user: User, origin: str, has: Iterable[Step], *, two_step: bool) -> Person:
    """Give a user second factors.

    Args:
        origin: the origin of the passkey.
        two_step: require a second factor at every sign-in.
    """
    person = Person(user)
    if Step.TOTP in has:
        with pytest.MonkeyPatch.context() as patch:
            # It takes 10 ms to draw, and tests do not scan it.
            patch.setattr(totp, "_qr_svg", lambda text: text)
            setup = await totp.start_setup(user.id, "test", user.email)
        person.app = pyotp.TOTP(setup.secret)
        assert await totp.confirm(user.id, "test", person.app.now())
    if Step.RECOVERY_CODE in has:
        person.codes = await recovery_codes.generate(user.id)
    if Step.PASSKEY in has:
        device = Authenticator()
        options = passkeys.registration_options(user, _CHALLENGE, [])
        await passkeys.register(user.id, "Test", _CHALLENGE, device.create(options))
        person.device = device.but(origin=origin)
    await factors.set_two_step(user.id, two_step)
    return person
