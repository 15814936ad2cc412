"""The commands of ``layerwise``, a module each: `add` says what the command takes, `run` does it.

What they share: `tables` reads, `targets` decides what a column of labels means, `options` makes an estimator of the
words given, `files` writes, `display` shows progress.
"""
