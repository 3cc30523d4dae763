"""Classes of a model's own that are taken for products without a witness: a user names them, or the model is refused.

A file has the arrays of such a class and not its code. A decoder layer that subtracts the encoder's bias before it multiplies
has the arrays of one that does not, and no package can run either. So what is read of it is a guess.
"""

from __future__ import annotations

from collections.abc import Sequence

from tiedae.base.errors import InputError, listed

from .chain import Chain, ChainProduct


def unread(chain: Chain) -> str:
    """Why a model with classes of its own is refused, and what would do; empty where it has none, as a live model."""
    if not chain.custom:
        return ""
    titles = [layer.title for layer in chain.layers if isinstance(layer, ChainProduct) and layer.class_name in chain.custom]
    named = ", ".join(f'"{name}"' for name in chain.custom)
    classes = "a class" if len(chain.custom) == 1 else "classes"
    return (
        f"{listed(titles)}: of {classes} of your own, whose code is not read and which nothing can compare; "
        f"`[model] assume = [{named}]` takes such a layer for x·Wᵀ + b; ta.from_keras(model) compares the live model"
    )


def require_assumed(chain: Chain, assume: Sequence[str]) -> None:
    """Raise InputError, naming source and layers, unless `assume` names all classes of the model's own, and no other."""
    if others := [name for name in assume if name not in chain.custom]:
        right = f"of {', '.join(chain.custom)}" if chain.custom else "left out"
        raise InputError(f"{chain.source}: assume: got {others[0]}, must be {right}: the classes whose code is not read")
    if set(chain.custom) - set(assume):
        raise InputError(f"{chain.source}: {unread(chain)}")
