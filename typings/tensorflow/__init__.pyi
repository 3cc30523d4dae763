# TensorFlow without types: the stubs that pyright ships take no ndarray for a tensor, and know few of its names.
from typing import Any

def __getattr__(name: str) -> Any: ...
