"""`idp mail`: the mail outbox."""

from uuid import UUID

import rich_click as click

from idp.cli.database import with_database
from idp.cli.mail_templates import templates
from idp.cli.output import json_option, print_json, print_table
from idp.errors import NotFoundError

STATES = ("queued", "sending", "sent", "deferred", "dead")


class MailNotDeferredError(NotFoundError):
    """There is no deferred message with this id."""

    def __init__(self) -> None:
        super().__init__("There is no deferred message with this id.")


@click.group()
def mail() -> None:
    """The messages in the outbox, their templates, and test emails."""


@mail.command("list")
@click.option("--state", type=click.Choice(STATES), help="Only messages in this state.")
@click.option("--to", "recipient", help="Only messages to this address.")
@click.option("--limit", default=100, show_default=True, help="Maximum number of messages.")
@json_option
@with_database
async def list_mail(state: str | None, recipient: str | None, limit: int, as_json: bool) -> None:
    """List messages, newest first, with their state and the SMTP server's response."""
    from idp.mail import repository

    found = await repository.latest(limit, state=state, recipient=recipient)
    if as_json:
        print_json(found)
        return
    print_table(
        ("Id", "Written", "To", "Message", "State", "Attempts", "Answer"),
        [(m.id, m.created_at, m.recipient, m.template, m.state, m.attempts, m.response) for m in found],
    )


@mail.command()
@click.argument("id", type=click.UUID)
@with_database
async def retry(id: UUID) -> None:
    """Retry a deferred message now."""
    from idp.mail import repository

    if not await repository.retry(id):
        raise MailNotDeferredError
    click.echo("A running server tries the message again immediately.")


@mail.command("test")
@click.argument("address")
@with_database
async def send_test(address: str) -> None:
    """Send a test email to ADDRESS at once, and print the answer of the SMTP server.

    The exit code is 1 if the server does not accept it, or does not answer within 20 seconds.
    """
    from idp.accounts.addresses import mask_email, normalise_email
    from idp.mail import trial
    from idp.mail.messages import compose
    from idp.mail.templates.registry import overrides

    await overrides.load()
    to = normalise_email(address)
    response = await trial.send(compose(to, "test"), "test", mask_email(to))
    click.echo(f"Accepted: {response}")


mail.add_command(templates)
