"""Recipes as lists of steps, one a file: get_config(arg) -> ConfigDict of plain data."""
