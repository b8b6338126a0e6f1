"""The tokenizer.json of a pretrained model: its vocabulary, ids and special tokens are its own, and the `tokenizers` library reads them as they are."""
from pathlib import Path

import numpy as np
import tokenizers

from ..errors import UserError
from .files import read_bytes
from .tokenizers import RESERVED, VISIBLE, encodable


class PretrainedTokenizer:
    """What generation asks of a tokenizer, as `minitx.data.tokenizers.Tokenizer` has it; made by `load`."""

    def __init__(self, library: tokenizers.Tokenizer):
        self._library = library
        self._library.no_truncation()  # what a file asks for is meant for training
        self._library.no_padding()

    @classmethod
    def load(cls, path: str | Path) -> "PretrainedTokenizer":
        """The tokenizer in a file; a UserError that names it when it is missing or broken."""
        try:
            return cls(tokenizers.Tokenizer.from_str(read_bytes(path).decode("utf-8")))
        except UserError:
            raise
        except Exception as error:  # the library raises no narrower one
            raise UserError(f"{path} is no tokenizer that the tokenizers library can read: {str(error).splitlines()[0]}") from None

    def __len__(self) -> int:
        return self._library.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """Ids of the text, behind the token that begins a text where the model was trained with one."""
        return self._library.encode(encodable(text)).ids

    def encode_text(self, text: str) -> np.ndarray:
        """`encode` of a long text, (tokens,) int32. It is not cut into pieces, for a token may reach over any line end."""
        return np.array(self.encode(text), np.int32)

    def decode(self, ids) -> str:
        """The text of the ids, without special tokens. Bytes that end within a character become "\ufffd"."""
        return self._library.decode(list(ids))

    def tokens(self, ids) -> list[str]:
        """The tokens as people read them, special ones included; white space is shown as "▁", "↵" (line end) and "⇥" (tab)."""
        def shown(*tokens):
            return self._library.decode(tokens, skip_special_tokens=False)

        return [(shown(i, i)[len(shown(i)):] or f"<{i}>").translate(VISIBLE) for i in ids]  # some libraries strip the space of the first

    def unknown(self, text: str) -> list[str]:
        """What of the text is read as the unknown token, each once; nothing, where every byte has a token."""
        unknown = getattr(self._library.model, "unk_token", None)
        found = self._library.encode(encodable(text))
        return list(dict.fromkeys(text[start:end] for token, (start, end) in zip(found.tokens, found.offsets) if token == unknown and end > start))

    def never(self) -> list[int]:
        """The special tokens of a tokenizer that minitx itself has written: a run never says them."""
        return [i for name in RESERVED if (i := self._library.token_to_id(name)) is not None]

    def to_library_json(self) -> str:
        """The description that the library, and so transformers, reads."""
        return self._library.to_str()
