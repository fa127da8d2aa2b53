"""Where the `piccolo` command, run in this folder, finds its configuration."""

from idp.piccolo_conf import APP_REGISTRY, DB

__all__ = ["APP_REGISTRY", "DB"]
