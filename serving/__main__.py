"""``python -m serving``: the service with the settings of the environment."""

from serving.app import run
from serving.settings import Settings

if __name__ == "__main__":
    run(Settings())
