"""What exists only in `--dev` mode: seed data, the start page, the demo client, captured mail."""

import warnings

from authlib.deprecate import AuthlibDeprecationWarning

# Authlib prefers the successor of httpx. Both work, and ours is the one that the rest of the server uses.
warnings.filterwarnings("ignore", "The httpx module is deprecated", AuthlibDeprecationWarning)
