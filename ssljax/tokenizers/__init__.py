"""Text to ids and back; one tokenizer per file: make(*, ...) -> Tokenizer. Free of jax."""
