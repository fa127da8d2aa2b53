"""Development mode (`--dev`) only: seed data, the start page, the demo client, captured mail."""

import warnings

from authlib.deprecate import AuthlibDeprecationWarning

# Authlib prefers httpx2 if it is installed. The rest of the server uses httpx.
warnings.filterwarnings("ignore", "The httpx module is deprecated", AuthlibDeprecationWarning)
