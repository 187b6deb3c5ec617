"""Are the defects worth training on? Every method's pairs, the same detector, the same test images."""
