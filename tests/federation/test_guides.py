"""The guides: the table is the page, and each leads to a valid upstream."""

from pathlib import Path

from idp.federation import registry
from idp.federation.guides import GUIDES, HOST, ISSUER, LOGOUT_URI, REDIRECT_URI, steps
from idp.federation.providers import KINDS


def _markdown() -> str:
    """Return the guides as the tables of docs/upstreams.md."""
    lines = list[str]()
    for name, guide in GUIDES.items():
        shown = {
            REDIRECT_URI: f"`https://id.example.com/upstreams/{name}/callback`",
            LOGOUT_URI: f"`https://id.example.com/upstreams/{name}/backchannel-logout`",
            ISSUER: "`https://id.example.com`",
            HOST: "`id.example.com`",
        }
        lines += [f"### {guide.label}", "", "| There | |", "|---|---|"]
        lines += [f"| {step.where} | {shown.get(step.what, step.what)} |" for step in guide.steps]
        lines += [""]
    return "\n".join(lines)


def test_the_document_has_every_guide() -> None:
    text = (Path(__file__).parents[2] / "docs" / "upstreams.md").read_text()
    assert text.endswith("\n\n" + _markdown().rstrip() + "\n")


def test_every_kind_has_a_guide() -> None:
    assert KINDS.keys() <= GUIDES.keys()
    for name, guide in GUIDES.items():
        assert registry.is_id(name)
        assert (REDIRECT_URI in {step.what for step in guide.steps}) is KINDS[guide.kind].redirects


def test_steps_have_the_urls_of_the_upstream() -> None:
    urls = [step.what for step in steps(GUIDES["keycloak"], "staff") if step.url]
    assert [url.rpartition("/upstreams/")[2] for url in urls] == ["staff/callback", "staff/backchannel-logout"]
