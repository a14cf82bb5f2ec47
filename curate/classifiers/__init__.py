"""Classifiers of documents: fastText, logistic regression and DSIR, their training, search of settings and fidelity."""
