"""The verbs of the command line: parse arguments, call runs, print."""
