"""Teaching a defect type from a few real pairs, on a backbone that is there."""
