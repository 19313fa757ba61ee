"""The vocabulary of ssljax: types, errors, configs, keys, layouts; imports no other package."""
