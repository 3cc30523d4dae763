"""What a file stores, in the orders of axes that it may have."""

import numpy as np
import pytest

from tiedae.export.model_file import AXIS_ORDERS, oriented


@pytest.mark.parametrize("order", AXIS_ORDERS)
@pytest.mark.parametrize("shape", [(6, 4), (4, 4), (1, 5)])
def test_a_kernel_is_found_in_every_declared_order(shape: tuple[int, int], order: tuple[int, int]) -> None:
    kernel = np.arange(shape[0] * shape[1]).reshape(shape)
    stored = np.ascontiguousarray(kernel.transpose(order))
    views = list(oriented(stored, shape))
    assert len(views) == len(AXIS_ORDERS)
    assert np.array_equal(views[AXIS_ORDERS.index(order)], kernel)
    assert np.array_equal(list(oriented(stored.ravel(), shape))[AXIS_ORDERS.index(order)], kernel)


def test_another_number_of_values_has_no_order() -> None:
    assert list(oriented(np.zeros((3, 4)), (4, 4))) == []
