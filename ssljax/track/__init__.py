"""Where metrics go: one writer per file."""
