"""Document classifiers: fastText, logistic regression and DSIR, their training, hyperparameter search and fidelity."""
