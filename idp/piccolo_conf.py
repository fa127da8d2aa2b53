"""Piccolo's configuration: for its own command line, and for running migrations.

The database is the one that the settings name, unless another one was configured already.
"""

from piccolo.conf.apps import AppRegistry

from idp.infra.db.engine import configure, engine
from idp.settings import settings

if not engine.config and (url := settings().database_url):
    configure(url.get_secret_value())

DB = engine
APP_REGISTRY = AppRegistry(apps=["idp.piccolo_app"])
