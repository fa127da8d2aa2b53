"""Row 53: a client cannot flood the mailbox of a user with backchannel requests, nor use up the mails for sign-ins."""

from idp.accounts.tables import User
from idp.infra.db.engine import fetch
from idp.mail import outbox
from idp.oauth.ciba import limits
from idp.settings import settings
from idp.signin import limits as signin_limits
from tests.conftest import MakeClient
from tests.support.ciba import CIBA, ask
from tests.support.mailbox import Mailbox


async def test_53_one_client(make_client: MakeClient, alice: User, mailbox: Mailbox) -> None:
    client = await make_client(**CIBA)
    answers = [await ask(client, alice.email) for _ in range(limits.OF_CLIENT_TO_USER.burst + 3)]
    accepted = [answer for answer in answers if answer.status_code == 200]
    assert len(accepted) == limits.OF_CLIENT_TO_USER.burst
    assert {answer.status_code for answer in answers} == {200, 429}
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers if answer.status_code == 429)
    await mailbox.next(alice.email, len(accepted))


async def test_53_many_clients(make_client: MakeClient, alice: User) -> None:
    clients = [await make_client(**CIBA) for _ in range(4)]
    accepted = 0
    for client in clients:
        accepted += sum([(await ask(client, alice.email)).status_code == 200 for _ in range(5)])
    assert accepted == limits.TO_USER.burst == limits.MAX_WAITING
    assert len(await fetch("SELECT 1 FROM mail WHERE recipient = $1", alice.email)) == accepted


def test_53_the_mails_for_sign_ins_are_left() -> None:
    """Within an hour, a user gets all of both: the outbox sends that many to one address."""
    sign_ins = signin_limits.MAILS_TO_ADDRESS_A_DAY.burst + signin_limits.MAILS_TO_PERSON_A_DAY.burst
    assert sign_ins + settings().ciba_daily_requests + 3 <= outbox.HOURLY_BUDGET
