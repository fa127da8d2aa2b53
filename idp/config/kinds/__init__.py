"""The kinds of objects that files have, in the order in which they are created: each names only what is before it.

To add one: a class in this package, and its line in :data:`KINDS`. The schema, the export, plans and the tests follow.
"""

from typing import Final

from idp.config.kinds.attributes import Attributes
from idp.config.kinds.base import Kind
from idp.config.kinds.branding import Brandings
from idp.config.kinds.clients import Clients, DetailsTypes, ResourceServers
from idp.config.kinds.directory import Groups, Roles
from idp.config.kinds.issuers import TrustedIssuers
from idp.config.kinds.mail import MailTemplates
from idp.config.kinds.organizations import Organizations
from idp.config.kinds.policies import (
    AccessPolicies,
    ClaimMappings,
    ExchangePolicies,
    IdJagPolicies,
    WorkloadIdentities,
)
from idp.config.kinds.receivers import ProvisioningTargets, TokenHooks, Webhooks
from idp.config.kinds.upstreams import Upstreams

KINDS: Final[tuple[Kind, ...]] = (
    Clients(),
    ResourceServers(),
    DetailsTypes(),
    Organizations(),
    Brandings(),
    Roles(),
    Groups(),
    Attributes(),
    Upstreams(),
    AccessPolicies(),
    ClaimMappings(),
    ExchangePolicies(),
    IdJagPolicies(),
    WorkloadIdentities(),
    TrustedIssuers(),
    TokenHooks(),
    Webhooks(),
    ProvisioningTargets(),
    MailTemplates(),
)
BY_SECTION: Final = {kind.section: kind for kind in KINDS}
