"""Training a backbone from nothing on rendered scenes: `python -m models.training --out FOLDER`."""
