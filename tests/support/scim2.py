"""The SCIM libraries of the python-scim project, which are not ours.

As Any: their generic classes are made at run time.
"""

from importlib import import_module
from typing import Any

models: Any = import_module("scim2_models")
tester: Any = import_module("scim2_tester")
filling: Any = import_module("scim2_tester.filling")
client: Any = import_module("scim2_client.client")
