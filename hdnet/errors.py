"""The errors that a user is meant to read.

Each carries one line: what was found, what was expected, what to do. The command line prints that line and
exits with status 1, a DVC stage does the same, the service turns it into problem+json.
"""


class HDNetError(Exception):
    """Base of every error that is a user's or an operator's to fix; its text is one complete line."""


class DataError(HDNetError):
    """A data file or folder breaks a convention. The text names the file."""


class ParamsError(HDNetError):
    """params.yaml (or a flag) holds an unknown key or a value out of range."""


class ModelError(HDNetError):
    """A checkpoint or registered model is missing, damaged, or of the wrong kind."""


class InputError(HDNetError):
    """A picture, mask or IUV map given for inference cannot be used."""


class TooManyPixelsError(InputError):
    """A picture is larger than it may be."""


class TrackingError(HDNetError):
    """The experiment tracker refuses or cannot be reached."""


class TrainingError(HDNetError):
    """Training cannot start or go on."""


class PromotionError(HDNetError):
    """A registered version does not become the champion, or there is none to decide about."""


class TuningError(HDNetError):
    """A study, its storage or a worker cannot go on, or a study was asked to be another one."""
