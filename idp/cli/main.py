"""The `idp` command: its subcommands, imported when called, and its error output."""

import importlib
import os
from typing import Any

import rich_click as click
from click.exceptions import Abort, ClickException, Exit

from idp import __version__

#: Every command: its help line and its location. Importing all of them would make `idp --help` slow.
COMMANDS = {
    "serve": ("Run the server.", "idp.cli.serve:serve"),
    "doctor": (
        "Examine the server and its surroundings, and say how to fix what is wrong.",
        "idp.cli.doctor:doctor",
    ),
    "db": ("Migrations, and recovery after a restored backup.", "idp.cli.db:db"),
    "keys": ("The master key and the signing keys.", "idp.cli.keys:keys"),
    "clients": ("The applications that users sign in to.", "idp.cli.clients:clients"),
    "access": ("Access policies: which users may use a client.", "idp.cli.access:access"),
    "initial-tokens": ("The tokens with which clients register themselves.", "idp.cli.initial_tokens:initial_tokens"),
    "workloads": (
        "Workload identity: clients that authenticate by a token of a trusted issuer.",
        "idp.cli.workloads:workloads",
    ),
    "issuers": ("Trusted issuers: other servers whose tokens say who a person is.", "idp.cli.issuers:issuers"),
    "token-exchange": ("The policies of token exchange (RFC 8693).", "idp.cli.exchanges:token_exchange"),
    "id-jag": ("Identity assertions (ID-JAG) for other authorization servers.", "idp.cli.id_jag:id_jag"),
    "claims": ("The claims that clients get about users.", "idp.cli.claims:claims"),
    "token-hooks": (
        "The URLs that are asked before tokens of users are issued.",
        "idp.cli.token_hooks:token_hooks",
    ),
    "resources": ("The services that accept our access tokens.", "idp.cli.resources:resources"),
    "authorization-details": (
        "The types of authorization details that clients may request.",
        "idp.cli.authorization_details:authorization_details",
    ),
    "upstreams": ("The upstream providers that users may sign in with.", "idp.cli.upstreams:upstreams"),
    "mail": ("The messages in the outbox, their templates, and test emails.", "idp.cli.mail:mail"),
    "deliveries": ("The requests to other systems.", "idp.cli.deliveries:deliveries"),
    "shared-signals": (
        "The streams of security events that clients created.",
        "idp.cli.shared_signals:shared_signals",
    ),
    "scim-tokens": ("The tokens with which other systems manage users.", "idp.cli.scim_tokens:scim_tokens"),
    "provisioning": ("The applications to which users are sent over SCIM.", "idp.cli.provisioning:provisioning"),
    "webhooks": ("The URLs that get events.", "idp.cli.webhooks:webhooks"),
    "attributes": ("The attributes of users that you declare.", "idp.cli.attributes:attributes"),
    "users": ("The users.", "idp.cli.users:users"),
    "jobs": ("Acts on many users, in the background.", "idp.cli.jobs:jobs"),
    "groups": ("Groups of users.", "idp.cli.groups:groups"),
    "roles": ("Roles of clients and of the whole server.", "idp.cli.roles:roles"),
    "organizations": ("The organisations, their members and roles.", "idp.cli.organizations:organizations"),
    "branding": ("The look of pages and mails.", "idp.cli.branding:branding"),
    "audit": ("List, export and verify the audit trail.", "idp.cli.audit:audit"),
    "trace": ("Show what happened in a sign-in or a token request, and why.", "idp.cli.trace:trace"),
    "admins": ("The administrators of this server and their roles.", "idp.cli.admins:admins"),
    "incident": ("Respond to a compromised user, client, key or upstream.", "idp.cli.incident:incident"),
    "config": ("The configuration as files: clients, groups, roles, upstreams and so on.", "idp.cli.config:config"),
    "migrate": (
        "Move here from Keycloak or Auth0: import an export, and compare the issuers.",
        "idp.cli.migrate:migrate",
    ),
    "settings": ("Every setting with its value and meaning.", "idp.cli.settings:show_settings"),
}

#: Older names of commands. They work, and the help does not list them.
ALIASES = {"contain": ("Older name of `idp incident revoke`.", "idp.cli.incident:revoke")}


class Commands(click.RichGroup):
    """The top-level group. It imports a command when the command runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the name and help of a command, which is all that help and completion need."""
        command = (COMMANDS | ALIASES).get(cmd_name)
        return click.RichCommand(name=cmd_name, help=command[0]) if command else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, found, rest = super().resolve_command(ctx, args)
        if name is None or found is None:
            return name, found, rest
        module, _, attribute = (COMMANDS | ALIASES)[name][1].partition(":")
        return name, getattr(importlib.import_module(module), attribute), rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command and print an error as one sentence, without a traceback. ``NO_COLOR`` turns the colours off."""
        if os.environ.get("NO_COLOR"):
            ctx.color = False
        try:
            return super().invoke(ctx)
        except (ClickException, Abort, Exit, BrokenPipeError):
            raise
        except Exception as error:
            if ctx.params["debug"]:
                raise
            click.echo(f"Error: {sentence(error)}", err=True)
            ctx.exit(1)


def sentence(error: Exception) -> str:
    """Return the text of an error. The errors of our own tree are plain sentences, and those about a file name it;
    others are unexpected.
    """
    from idp.errors import IdpError
    from idp.infra.db.outages import outage

    if isinstance(error, IdpError):
        return error.description

    if (found := outage(error)) is not None:
        return f"{found.words}."
    if isinstance(error, OSError) and error.filename is not None and error.strerror is not None:
        return f"{error.filename}: {error.strerror}."
    reason = str(error).partition("\n")[0]
    return f"Unexpected error ({type(error).__name__}: {reason}). For the traceback, run: idp --debug …"


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="idp")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """An OAuth 2.0 and OpenID Connect identity provider."""


def main() -> None:
    """Run the command with the arguments of this process."""
    cli(prog_name="idp")
