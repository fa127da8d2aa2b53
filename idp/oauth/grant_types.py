"""The names of grants that more than their own packages need. Imports nothing, so that ``--help`` stays fast."""

from typing import Final

DEVICE_CODE: Final = "urn:ietf:params:oauth:grant-type:device_code"
CIBA: Final = "urn:openid:params:grant-type:ciba"
