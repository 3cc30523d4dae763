"""Operations are records of their own; what only some of them share can't be made; a model of other layers is refused."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tiedae.program.lowering import operations_of
from tiedae.program.operations import OPERATIONS
from tiedae.program.operations.elementwise import Times
from tiedae.program.operations.operation import Elementwise, Operation, WithConstant

from .test_lowering import float_lowering


@pytest.mark.parametrize("kind", OPERATIONS.values(), ids=OPERATIONS)
def test_each_operation_is_a_frozen_record_of_its_own(kind: type[Operation]) -> None:
    assert "__dataclass_params__" in vars(kind) and vars(kind)["__dataclass_params__"].frozen


@pytest.mark.parametrize(
    ("kind", "fields", "missing"),
    [
        (Operation, ("x", "y"), "integers"),
        (Elementwise, ("x", "y"), "exact"),
        (WithConstant, ("x", "y"), "constant"),
        (Times, ("x", "y"), "constant"),
    ],
)
def test_what_operations_share_is_no_operation(kind: type, fields: tuple[str, ...], missing: str) -> None:
    with pytest.raises(TypeError, match=f"Can't instantiate abstract class {kind.__name__} .*{missing}"):
        kind(*fields)


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_a_model_of_fewer_layers_than_its_configuration_is_refused(part: str) -> None:
    lowering = float_lowering()
    model = lowering.model
    halves = {"encoder": model.encoder, "decoder": model.decoder}
    halves[part] = SimpleNamespace(stack=halves[part].stack[:-1])
    shorter = SimpleNamespace(config=model.config, quantizers=None, kernels=model.kernels, **halves)
    vars(lowering)["model"] = shorter
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        operations_of(lowering)
