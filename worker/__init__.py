"""Takes shards off the queue, keeps models warm, calls `models` and writes results."""
