"""The screens of the mail templates."""

from collections.abc import AsyncIterator

import pytest

from idp.admin.roles import Role
from idp.infra.db.cache_invalidation import exclusive_change
from idp.infra.db.engine import execute
from idp.mail.templates.registry import TOPIC, overrides
from tests.admin.console.conftest import Admin
from tests.support.browser import Page
from tests.support.mailbox import Mailbox

PATH = "/admin/mail_templates/sign_in_code.de"
GOOD = {
    "subject": "Neu: {{ code }}",
    "html": '<p>{{ name }} {{ code }}</p>{{ button(link, "Los") }}',
    "text": "{{ code }} {{ link }}",
}


@pytest.fixture(autouse=True)
async def no_templates() -> AsyncIterator[None]:
    yield
    async with exclusive_change(TOPIC):
        await execute("DELETE FROM mail_template")
    await overrides.load()


async def press(admin: Admin, button: str, path: str, **fields: str) -> Page:
    """Send the form of the page to where a button sends it."""
    page = await admin.get(PATH)
    form = next(form for form in page.forms if form.action == PATH)
    answer = await admin.browser.post(path, form.fields | GOOD | fields)
    assert isinstance(answer, Page)
    return answer


async def test_a_template_is_changed_and_reset(owner: Admin) -> None:
    page = await owner.get(PATH)
    assert "Hallo {{ name }}" in page.text
    assert "the code to type" in page.text
    saved = await owner.confirm(PATH, **GOOD)
    assert "Saved." in saved.text
    assert "Neu: {{ code }}" in saved.text
    assert "changed here: de" in (await owner.get("/admin/mail_templates")).text
    assert "Neu: 284713" in (await owner.get(f"{PATH}/preview")).text
    await owner.confirm(PATH, **GOOD | {"subject": "Neuer: {{ code }}"})
    old = await owner.get(f"{PATH}?version=1")
    assert "Neu: {{ code }}" in old.text
    reset = await owner.confirm(f"{PATH}/reset")
    assert "{{ code }} ist dein Code" in reset.text
    assert "the shipped one" in reset.text


async def test_a_template_with_a_fault_is_not_saved(owner: Admin) -> None:
    refused = await owner.confirm(PATH, **GOOD | {"html": "<p>{{ kode }}</p>"})
    assert refused.status == 400
    assert "There is no variable “kode” in this mail." in refused.text
    # What was entered is still there.
    assert "{{ kode }}" in refused.text
    assert "not changed" not in (await owner.get("/admin/mail_templates")).text


async def test_what_is_not_saved_is_previewed(owner: Admin) -> None:
    for scheme, query in (("light", "not all"), ("dark", "all")):
        shown = await press(owner, f"preview-{scheme}", f"{PATH}/preview", **{"as": scheme})
        assert "Ada Lovelace 284713" in shown.text
        assert f"@media {query} {{" in shown.text
        assert "sandbox" in shown.response.headers["content-security-policy"]
    text = await press(owner, "preview-text", f"{PATH}/preview", **{"as": "text"})
    assert "284713 http" in text.text
    wrong = await press(owner, "preview-light", f"{PATH}/preview", html="<script>{{ x }}</script>")
    assert "There is no variable “x”" in wrong.text
    assert "<script>" not in wrong.text


async def test_a_test_goes_to_oneself(owner: Admin, mailbox: Mailbox) -> None:
    sent = await press(owner, "send-test", f"{PATH}/preview", **{"as": "send"})
    assert f"Sent to {owner.user.email}" in sent.text
    assert (await mailbox.about(owner.user.email, "Neu: 284713")).text.startswith("284713 http")


async def test_another_change_is_not_overwritten(owner: Admin) -> None:
    page = await owner.get(PATH)
    await owner.confirm(PATH, **GOOD)
    answer = await owner.browser.submit(page, "confirm", **GOOD | {"subject": "mine {{ code }}"})
    assert isinstance(answer, Page)
    assert "changed by another user" in answer.text


async def test_who_may(admins: dict[Role, Admin]) -> None:
    assert (await admins[Role.SUPPORT].get(PATH)).status == 403
    shown = await admins[Role.AUDITOR].get(PATH)
    assert shown.status == 200
    assert not {"confirm", "preview-light", "preview-text", "send-test"} & set(shown.ids)
    assert (await press(admins[Role.AUDITOR], "preview-light", f"{PATH}/preview", **{"as": "light"})).status == 403
    assert (await admins[Role.OWNER].get("/admin/mail_templates/nonsense.de")).status == 404
    assert (await admins[Role.OWNER].get("/admin/mail_templates/welcome.xx")).status == 404
