"""The name of a client in mails to users."""

from idp.mail.names import suitable_name
from idp.oauth.clients.models import Client


def name_in_mail(client: Client) -> str | None:
    """Return the name of a client, if an administrator chose it or it says nothing else; never that in a document."""
    match client.origin:
        case "admin":
            return client.client_name
        case "dynamic":
            return suitable_name(client.client_name)
    return None
