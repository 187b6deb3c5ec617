"""Records, queue and storage: what service and worker share. No web framework in here."""
