"""The vocabulary of ssljax: types, errors, configs, keys and layouts; imports nothing else of ssljax."""
