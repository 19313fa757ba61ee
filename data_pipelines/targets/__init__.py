"""What recipes write, one way a file: make(*, ...) -> data_pipelines.target.Target. No jax."""
