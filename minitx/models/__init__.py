"""The models, one file each, top to bottom."""
from .encoder_decoder import EncoderDecoder  # noqa: F401
