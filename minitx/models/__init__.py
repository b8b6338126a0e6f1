"""The models, one file each, top to bottom."""
from .decoder_only import DecoderOnly  # noqa: F401
from .encoder_decoder import EncoderDecoder  # noqa: F401
from .pretrained import from_pretrained, is_pretrained, save_pretrained  # noqa: F401
from .prefix import PrefixLanguageModel  # noqa: F401
from .recurrent import RecurrentTranslator  # noqa: F401
