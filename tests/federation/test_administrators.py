"""An upstream of an organization never speaks for administrators, also in a session from before the role was given."""

import httpx

from idp.accounts.users import create_user
from idp.admin.roles import Permission, Role, grant
from idp.infra.db.engine import execute
from idp.signin.enforcement import speaks_for_administrators
from idp.signin.transitions import CompletedStep, Step
from tests.admin.api.conftest import API
from tests.conftest import MakeClient
from tests.federation.test_realms import there_and_back
from tests.support.browser import Browser, Redirect, as_page
from tests.support.oauth import PASSWORD
from tests.support.realms import MakeRealm
from tests.support.server import Server


async def test_a_session_from_before_the_role(
    browser: Browser, http: httpx.AsyncClient, server: Server, make_realm: MakeRealm, make_client: MakeClient
) -> None:
    """Neither at the console nor at the admin API. A sign-in with the password has the authority."""
    realm = await make_realm()
    email = str(realm.provider.person.email)
    user = await create_user(email, PASSWORD, email_verified=True)
    client = await make_client(scope=f"openid {Permission.USERS_READ}", skip_consent=True)

    async def console() -> int | str:
        # With the level of the console, so that the level is not what is missing.
        await execute("UPDATE session SET acr = '2' WHERE user_id = $1", user.id)
        answer = await browser.get("/admin/users")
        return answer.location if isinstance(answer, Redirect) else answer.status

    async def token() -> str:
        await execute("UPDATE session SET acr = '2' WHERE user_id = $1", user.id)
        tokens = await client.tokens(browser, email, resource=f"{server.issuer}/admin/api")
        return str(tokens["access_token"])

    async def api(token: str) -> int:
        sent = {"Authorization": f"Bearer {token}"}
        answer = await http.get(f"{server.issuer}{API}/users", headers=sent)
        told.append(answer.json().get("detail"))
        return answer.status_code

    told: list[str | None] = []

    await there_and_back(browser, realm)
    early = await token()
    assert (await console(), await api(early)) == (403, 403)
    assert told == [f"No role of your account gives the permission {Permission.USERS_READ}."]
    await grant(user.id, Role.OWNER)
    page = as_page(await browser.get("/admin/users"))
    assert "/login/" in page.path
    assert (await api(early), await api(await token())) == (403, 403)
    withheld = "Your sign-in at an upstream does not give the permissions of your roles."
    assert told[1:] == [withheld, withheld]
    # The session has ended: nothing says where the sign-in was.
    await execute("UPDATE token_family SET session_id = NULL, offline_access = true WHERE user_id = $1", user.id)
    assert await api(early) == 403
    browser.cookies.clear()
    page = as_page(await browser.get("/login"))
    form = next(form for form in page.forms if "use-password" in form.buttons)
    name, value = form.buttons["use-password"]
    page = as_page(await browser.post(f"{page.path}/way", form.fields | {name: value}))
    await browser.sign_in(page, email, PASSWORD)
    assert browser.signed_in
    assert await console() == 200
    assert await api(await token()) == 200


def test_which_sign_ins_have_authority() -> None:
    """An upstream that is gone has none."""
    own = CompletedStep(Step.PASSWORD, ("pwd",))
    gone = CompletedStep(Step.UPSTREAM, ("fed",), None, "gone")
    assert speaks_for_administrators([own, CompletedStep(Step.TOTP, ("otp",))])
    assert not speaks_for_administrators([gone])
    assert not speaks_for_administrators([gone, CompletedStep(Step.PASSKEY, ("hwk",))])
    assert not speaks_for_administrators([CompletedStep(Step.UPSTREAM, ("fed",))])
