"""One judgement per file: make(objective, *, ...) -> Evaluator."""
