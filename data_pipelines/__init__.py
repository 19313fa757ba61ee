"""Raw data to curated, versioned shards, offline and without jax; a recipe is a list of steps."""
