"""Records, queue and storage: what service and worker share. No web framework, no models."""
