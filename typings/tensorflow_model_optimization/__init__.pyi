# A module that exists only at run time: the package rewrites its own search path.
from typing import Any

def __getattr__(name: str) -> Any: ...
