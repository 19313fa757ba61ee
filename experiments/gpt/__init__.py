"""Language models: decoder-only transformers on token shards."""
