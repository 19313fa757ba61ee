"""Parameters to artefacts that run without this repository."""
