"""The admin console. Each file declares the screens of one section."""

from idp.admin.console import admins, audit, clients, keys, overview, resource_servers, setup, upstreams, users
from idp.admin.console.screen import ROUTES as SCREENS

__all__ = ["ROUTES", "admins", "audit", "clients", "keys", "overview", "resource_servers", "upstreams", "users"]

ROUTES = [*SCREENS, *setup.ROUTES]
