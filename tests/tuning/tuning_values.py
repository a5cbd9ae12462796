"""params.yaml with another section ``tune``."""

from pathlib import Path

import yaml

from hdnet.params import Params, parse_section


def params_with(**tune) -> Params:
    values = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())
    values["tune"] |= tune
    return parse_section(Params, values, "params.yaml")
