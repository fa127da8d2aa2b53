"""The table of checks. `idp doctor` runs them all, the console those that call no other server."""

from typing import Final

from idp.doctor import (
    clients,
    clocks,
    cookie_ways,
    database,
    files,
    issuer,
    keys,
    mail_dns,
    metrics,
    migrations,
    proxy,
    queues,
    receivers,
    settings,
    smtp,
    tls,
    upstreams,
)
from idp.doctor.models import Check, Needs

_DATABASE, _RECORDS = Needs.DATABASE, Needs.RECORDS

CHECKS: Final = (
    Check(name="settings", title="Settings", run=settings.check),
    Check(name="files", title="Files", run=files.check),
    Check(name="database", title="PostgreSQL", run=database.check_server, needs=_DATABASE),
    Check(name="connections", title="Connections to PostgreSQL", run=database.check_connections, needs=_DATABASE),
    Check(name="pooler", title="Pooler", run=database.check_pooler, needs=_DATABASE, console=False),
    Check(name="replication", title="Replication", run=database.check_replication, needs=_DATABASE),
    Check(name="migrations", title="Migrations", run=migrations.check, needs=_DATABASE),
    Check(name="privileges", title="Privileges", run=database.check_privileges, needs=_DATABASE),
    Check(name="tables", title="Tables", run=database.check_tables, needs=_RECORDS),
    Check(name="clock", title="Clock", run=clocks.check_database, needs=_DATABASE),
    Check(name="master_key", title="Master key", run=keys.check_master_key, needs=_DATABASE),
    Check(name="signing_keys", title="Signing keys", run=keys.check_signing_keys, needs=_RECORDS),
    Check(name="restored_backup", title="Restored backup", run=keys.check_mark, needs=_RECORDS),
    Check(name="mail_queue", title="Mails that wait", run=queues.check_mail, needs=_RECORDS),
    Check(name="deliveries", title="Deliveries to other systems", run=queues.check_deliveries, needs=_RECORDS),
    Check(name="audit", title="Audit trail", run=queues.check_audit, needs=_RECORDS),
    Check(name="clients", title="Clients", run=clients.check, needs=_RECORDS),
    Check(name="tls", title="TLS", run=tls.check, network=True),
    Check(name="issuer", title="Issuer", run=issuer.check, network=True, seconds=30),
    Check(name="proxy", title="Reverse proxy", run=proxy.check, network=True, seconds=30),
    Check(name="cookies", title="Cookies", run=cookie_ways.check, network=True),
    Check(name="mail_dns", title="DNS for mail", run=mail_dns.check, network=True, seconds=30),
    Check(name="smtp", title="SMTP", run=smtp.check, network=True, seconds=60),
    Check(name="time_server", title="Time server", run=clocks.check_time_server, network=True),
    Check(name="metrics", title="Metrics", run=metrics.check, network=True),
    Check(name="upstreams", title="Upstream providers", run=upstreams.check, needs=_RECORDS, network=True, seconds=30),
    Check(name="receivers", title="Receivers", run=receivers.check, needs=_RECORDS, network=True, seconds=30),
)
