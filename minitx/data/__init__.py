"""Text for training and translation: toy languages, files of sentence pairs, tokenizers, batches."""
