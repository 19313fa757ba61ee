"""Networks of Hugging Face's transformers that are networks of ours under other names."""
