"""The promises of the design, driven through the whole stack on real images and recomputed by an outsider."""
