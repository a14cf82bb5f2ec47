"""Statistics that several families share: quantiles, confidence intervals, calibration, separation of two corpora."""
