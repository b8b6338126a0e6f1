"""Decoding: from a trained model to sentences."""
