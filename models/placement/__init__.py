"""Where the defects of a type lie and how their masks look: learned from samples, drawn for a new image."""
