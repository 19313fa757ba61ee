"""What text costs without a network: compressors and byte models that a language model must beat.

Pure functions over bytes, free of jax. Every model here predicts a document byte by byte and then
its end, from a context that starts fresh with the document: the footing of `evals.bits_per_byte`.
"""
