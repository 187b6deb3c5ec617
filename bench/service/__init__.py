"""What the service adds to the bare pipeline."""
