"""The rules of all clients: the scopes ``groups`` and ``roles``."""

from idp.oauth.claims.models import Place, Rule
from idp.oauth.claims.sources import Groups, Roles

_EVERYWHERE = tuple(Place)
#: Applications such as kubectl, oauth2-proxy and Grafana read groups in the ID token. A client that does not request
#: the scope has a lean one.
STANDARD = (
    Rule(claim="groups", scope="groups", source=Groups(), places=_EVERYWHERE),
    Rule(claim="roles", scope="roles", source=Roles(), places=_EVERYWHERE),
)
