"""Statistics shared by several families: quantiles, confidence intervals, calibration, separation of two corpora."""
