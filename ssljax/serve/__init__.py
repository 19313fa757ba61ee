"""Artefact to answers; never imports models, objectives, optim, train or data."""
