"""The process of the command line."""

import os
import sys

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # TensorFlow imports a Keras: tf_keras, the one that is used, not Keras 3 too

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
