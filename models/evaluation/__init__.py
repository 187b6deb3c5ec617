"""Does a detector get better? A segmenter to train on pairs, and what its scores are worth."""
