"""The OpenAPI 3.1 document of the server: schemas written by hand beside the paths they serve."""
