"""One module for each group of paths; each has `routes(server) -> list[BaseRoute]`."""
