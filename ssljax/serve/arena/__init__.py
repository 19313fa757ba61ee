"""The comparison page: models side by side, votes, a ranking, and the rows they learnt from."""
