"""Training: from settings to a run folder (`run.train`), and scores of a run (`evaluate.evaluate`)."""
