"""`idp upstreams`: the upstream identity providers."""

import json
from typing import TYPE_CHECKING, Any

import rich_click as click

from idp.cli.database import with_database
from idp.cli.options import given, together, yes_option
from idp.cli.output import json_option, print_details, print_json, print_table

if TYPE_CHECKING:
    from idp.federation.models import Finding


@click.group()
def upstreams() -> None:
    """The upstream providers that users may sign in with."""


def _pairs(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, str] | None:
    """Parse ``name=value`` options. Returns None if there are none."""
    pairs = [value.partition("=") for value in values if value]
    if any(not sign for _, sign, _ in pairs):
        raise click.BadParameter("write it as NAME=VALUE.", context, option)
    return {name: value for name, _, value in pairs} if values else None


def _rules(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> list[Any] | None:
    """Parse rules, each a JSON object. Returns None if there are none."""
    try:
        rules = [json.loads(value) for value in values if value]
    except ValueError as error:
        raise click.BadParameter("write it as a JSON object.", context, option) from error
    return rules if values else None


_CLIENT_ID = click.option(
    "--client-id", "--bind-dn", "client_id", help="The client id at the provider; of a directory, the bind DN."
)
#: Upstream configuration that `add` and `update` accept.
_CONFIGURATION = together(
    click.option("--name", help="Text of the button."),
    click.option(
        "--client-secret-file", "--bind-password-file", "client_secret_file", type=click.File(),
        help="File with the client secret, Apple's private key as PEM, or the password of the bind DN; - for standard"
        " input.",
    ),
    click.option("--scope", help="The scopes to request, separated by spaces."),
    click.option("--trust-email/--no-trust-email", default=None, help="Whether to trust email_verified."),
    click.option(
        "--creates-accounts/--no-creates-accounts", default=None,
        help="Whether unknown users get an account. By default as IDP_REGISTRATION says.",
    ),
    click.option(
        "--require", "required_claims", multiple=True, callback=_pairs,
        help="A required claim, such as hd=example.com or groups=staff,admins. May be repeated.",
    ),
    click.option(
        "--github-organization", "organizations", multiple=True, help="GitHub organization that users must be in."
    ),
    click.option(
        "--claim", "claims", multiple=True, callback=_pairs,
        help="Mapping of our claim to one of the provider, such as given_name=profile.first. May be repeated.",
    ),
    click.option("--mfa-acr", help="The acr of a sign-in with two factors."),
    click.option("--keep-tokens/--no-keep-tokens", default=None, help=(
        "Whether to keep tokens of the provider, encrypted."
    )),
    click.option("--logout/--no-logout", default=None, help="Whether signing out here signs out there too."),
    click.option("--option", "options", multiple=True, callback=_pairs, help="An option of the provider: team_id=X."),
    click.option("--ca-file", type=click.File(), help="File with the certificate authorities of a directory, as PEM."),
    click.option(
        "--adds-members/--no-adds-members", default=None,
        help="Whether users become members of the organisation of the upstream.",
    ),
    click.option(
        "--rule", "rules", multiple=True, callback=_rules,
        help='What a claim gives, such as {"claim": "groups", "equals": "staff", "group": "Staff"}. May be repeated.',
    ),
)  # fmt: skip


def _configuration(values: dict[str, Any]) -> dict[str, Any]:
    """Return the options as arguments of :func:`idp.federation.registry.configure`. A cleared option is None."""
    secret, ca = values.pop("client_secret_file"), values.pop("ca_file")
    named = given(values)
    if ca is not None:
        named["options"] = (named.get("options") or {}) | {"ca": ca.read().strip()}
    if required := named.get("required_claims"):
        named["required_claims"] = {name: tuple(value.split(",")) for name, value in required.items()}
    return named | ({"client_secret": secret.read().strip()} if secret else {})


@upstreams.command()
@click.option(
    "--kind", default="oidc", show_default=True, help="google, github, microsoft, apple, ldap, or oidc for any other."
)
@click.option("--id", "id", help="Id in URLs. Default: the kind.")
@click.option("--issuer", help="Issuer; for GitHub Enterprise Server, the URL.")
@_CLIENT_ID
@click.option("--organization", help="Slug or id of the organisation of the upstream. Default: the whole server.")
@click.option("--disabled", is_flag=True, help="Do not offer it until `idp upstreams enable`, for a test before.")
@_CONFIGURATION
@json_option
@with_database
async def add(*, organization: str | None, as_json: bool, **values: Any) -> None:
    """Add a provider. `idp upstreams guide` says what to register there. A directory needs nothing.

    Without --client-secret-file the command prompts for the secret. A directory without a bind DN has none.
    """
    from idp.directory import organizations
    from idp.federation import registry as known
    from idp.federation.errors import InvalidUpstreamError

    configuration, is_directory = _configuration(values), values["kind"] == "ldap"
    if "client_id" not in configuration and not is_directory:
        raise click.UsageError("Missing option '--client-id'.")
    if organization is not None:
        configuration["organization_id"] = (await organizations.named(organization)).id
    if "client_secret" not in configuration and configuration.get("client_id"):
        configuration["client_secret"] = click.prompt("Client secret", hide_input=True).strip()
    upstream = known.configure(**configuration)
    if not await known.add(upstream):
        raise InvalidUpstreamError(f"There is an upstream {upstream.id} already.")
    shown = {"id": upstream.id} | ({} if is_directory else {"redirect_uri": upstream.redirect_uri})
    if as_json:
        print_json(shown)
    else:
        print_details(shown)


@upstreams.command()
@click.argument("upstream_id", metavar="ID")
@_CLIENT_ID
@_CONFIGURATION
@json_option
@with_database
async def update(upstream_id: str, as_json: bool, **values: Any) -> None:
    """Change the configuration of a provider.

    Options that are not given keep their value, the secret included. A change of the server that gets the secret
    (metadata_url, api, url, start_tls, ca) needs the secret again. An empty value, as in --require "", restores the
    default of its kind. --option sets one option; --option NAME= removes it, and --option "" removes all.
    """
    from idp.federation import registry as known
    from idp.federation.errors import InvalidUpstreamError

    changes = _configuration(values)
    if not changes:
        raise click.UsageError("Name at least one option to change.")
    if changes.get("options"):
        before = next((one.options for one in await known.load_stored() if one.id == upstream_id), {})
        changes["options"] = {name: value for name, value in (before | changes["options"]).items() if value}
    upstream = await known.update(upstream_id, **changes)
    if upstream is None:
        raise InvalidUpstreamError(f"There is no upstream {upstream_id} that was added.")
    if as_json:
        print_json(known.without_secret(upstream))
    else:
        click.echo(f"The upstream {upstream_id} is changed.")


@upstreams.command()
@click.argument("upstream_id", metavar="ID")
@yes_option
@with_database
async def delete(upstream_id: str, yes: bool) -> None:
    """Delete a provider. The linked identities are kept in case it is added again."""
    from idp.federation import registry as known
    from idp.federation.errors import InvalidUpstreamError

    found = next((one for one in await known.load_stored() if one.id == upstream_id), None)
    if found is not None and not yes:
        click.confirm(f"Users can no longer sign in with {found.name}. Delete it?", abort=True)
    if not await known.delete(upstream_id):
        raise InvalidUpstreamError(f"There is no upstream {upstream_id} that was added.")
    click.echo(f"The upstream {upstream_id} is deleted.")


@upstreams.command("list")
@json_option
@with_database
async def list_upstreams(as_json: bool) -> None:
    """List the providers in their order, with the redirect URI to register at each."""
    from idp.directory.repository.organizations import slugs_of_organizations
    from idp.federation import registry as known
    from idp.settings import settings

    found = [*known.from_settings(settings()), *await known.load_stored()]
    if as_json:
        print_json([known.without_secret(upstream) for upstream in found])
        return
    slugs = await slugs_of_organizations([one.organization_id for one in found if one.organization_id is not None])
    print_table(
        ("Id", "Name", "Kind", "Issuer", "Redirect URI", "Organisation", "Disabled"),
        [
            (
                one.id, one.name, one.kind, one.issuer, one.redirect_uri,
                slugs.get(one.organization_id, "") if one.organization_id is not None else "",
                "yes" if one.disabled else "",
            )
            for one in found
        ],
    )  # fmt: skip


@upstreams.command()
@click.argument("provider", required=False)
@click.option("--id", "id", help="The id that the upstream will have. By default the name of the provider.")
def guide(provider: str | None, id: str | None) -> None:
    """Say what to register at PROVIDER before you add it. Without PROVIDER, list those that there are."""
    from idp.cli import development
    from idp.federation.guides import GUIDES, steps

    development.adopt()
    if provider is None:
        print_table(("Provider", "Name", "Kind"), [(name, one.label, one.kind) for name, one in GUIDES.items()])
        return
    if provider not in GUIDES:
        raise click.UsageError(f"The providers are {', '.join(GUIDES)}.")
    print_details({step.where: step.what for step in steps(GUIDES[provider], id or provider)})


def _sentence(finding: "Finding") -> str:
    return finding.text if finding.passed else f"FAILED: {finding.text}"


@upstreams.command()
@click.argument("upstream_id", metavar="ID")
@click.option("--user", help="At a directory: also show this user, by what they enter at the sign-in.")
@click.option("--ask-password", is_flag=True, help="At a directory: also try the password of the user.")
@with_database
async def test(upstream_id: str, user: str | None, ask_password: bool) -> None:
    """Check the provider's metadata and keys and whether it accepts our secret, without a user's sign-in.

    For a directory, show step by step how it answers: connection, TLS, bind, search and, with --user, the user's
    address, claims and groups.
    """
    from idp.federation import providers
    from idp.federation import registry as known
    from idp.federation.errors import InvalidUpstreamError
    from idp.federation.providers.oidc import OpenIDProvider
    from idp.settings import settings

    found = {one.id: one for one in [*known.from_settings(settings()), *await known.load_stored()]}
    if upstream_id not in found:
        raise InvalidUpstreamError(f"There is no upstream {upstream_id}.")
    if found[upstream_id].kind == "ldap":
        from idp.federation.ldap import diagnosis

        password = click.prompt("Password", hide_input=True) if user and ask_password else None
        async for finding in diagnosis.steps(found[upstream_id], user, password):
            click.echo(_sentence(finding))
        return
    if user is not None or ask_password:
        raise click.UsageError("Only the users of a directory can be shown.")
    async for finding in providers.KINDS[found[upstream_id].kind].test(found[upstream_id]):
        click.echo(_sentence(finding))
    click.echo(f"Register this redirect URI there: {found[upstream_id].redirect_uri}.")
    if isinstance(providers.KINDS[found[upstream_id].kind], OpenIDProvider):
        click.echo(f"The provider may report logouts to {found[upstream_id].backchannel_logout_uri}.")


@upstreams.command()
@click.argument("upstream_id", metavar="ID")
@click.option("--apply", is_flag=True, help="Disable them here, however many there are.")
@json_option
@with_database
async def check(upstream_id: str, apply: bool, as_json: bool) -> None:
    """Say how many users are gone from a directory, or are disabled there.

    The server does this in intervals, and stops if there are too many (IDP_DIRECTORY_CHECK_LIMIT). With --apply they
    are disabled here in any case.
    """
    from idp.federation import registry as known
    from idp.federation.errors import InvalidUpstreamError
    from idp.federation.ldap import pool
    from idp.oauth import directory_checks

    found = next((one for one in await known.load_stored() if (one.id, one.kind) == (upstream_id, "ldap")), None)
    if found is None:
        raise InvalidUpstreamError(f"There is no directory {upstream_id}.")
    try:
        outcome = await directory_checks.check(found, all_of_them=apply, look_only=not apply)
    finally:
        await pool.close_all()
    shown = outcome._asdict()
    if as_json:
        print_json(shown)
    else:
        print_details({name: str(value).lower() for name, value in shown.items()})


@upstreams.command()
@click.argument("upstream_id", metavar="ID")
@with_database
async def disable(upstream_id: str) -> None:
    """Disable sign-in with a provider. Existing sessions continue."""
    from idp.federation import registry as known
    from idp.federation.errors import InvalidUpstreamError

    if not await known.disable(upstream_id):
        raise InvalidUpstreamError(f"There is no upstream {upstream_id} that was added and is enabled.")


@upstreams.command()
@click.argument("upstream_id", metavar="ID")
@with_database
async def enable(upstream_id: str) -> None:
    """Enable sign-in with a provider again."""
    from idp.federation import registry as known
    from idp.federation.errors import InvalidUpstreamError

    if not await known.enable(upstream_id):
        raise InvalidUpstreamError(f"There is no upstream {upstream_id} that is disabled.")


@upstreams.command()
@click.argument("upstream_ids", metavar="ID...", nargs=-1, required=True)
@with_database
async def order(upstream_ids: tuple[str, ...]) -> None:
    """Set the order of the providers' buttons. Those from the settings come first, those not named last."""
    from idp.federation import registry as known

    await known.reorder(upstream_ids)
