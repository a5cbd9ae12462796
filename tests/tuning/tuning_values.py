"""params.yaml with another section ``tune``."""

from spheres import tiny_values

from hdnet.params import Params, parse_section


def params_with(**tune) -> Params:
    values = Params().model_dump(mode="json", by_alias=True)
    values["tune"] |= tune
    return parse_section(Params, values, "params.yaml")


def tuning_values(**tune) -> dict:
    """The spheres' parameters with a short search; two held-out spheres of three for the report."""
    values = tiny_values()
    values["tune"] |= {"steps": 4, "validate_every": 1, "select_people": 1, "prune_after": 99, "startup_trials": 3}
    values["tune"] |= {"top_seeds": 2, "stale_after_s": 3, **tune}
    return values


def lite_values(**tune) -> dict:
    """The same with the network for photographs and a search of its labelled training."""
    values = tuning_values(**{"stage": "train_depth", "space": None} | tune)
    values["model"] |= {"network": "lite", "encoder_weights": "random"}
    values["photo"] |= {"sizes": [64], "frozen_blocks": 3}
    return values
