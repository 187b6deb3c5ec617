"""How fast the method is, beside plain diffusers, and where its time goes."""
