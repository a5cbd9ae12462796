"""``python -m serving``: the service with the settings of the environment."""

import sys

from hdnet.errors import HDNetError
from serving.app import run
from serving.settings import read_settings

if __name__ == "__main__":
    try:
        run(read_settings())
    except HDNetError as error:
        sys.exit(f"error: {error}")
