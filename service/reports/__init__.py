"""Reports of data sets: one pass over rows, then pages; no pixel is decoded here."""
