"""Keras 2, `tf_keras`, once it is known to be made for the installed TensorFlow."""

from tiedae.base.packages import require_installed

require_installed("tensorflow", "tf_keras")

import tf_keras  # noqa: E402

__all__ = ["tf_keras"]
