"""The process of the command line."""

import os
import sys

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # else TensorFlow imports Keras 3 as well, which nothing here uses

from tiedae.cli import main

if __name__ == "__main__":
    sys.exit(main())
