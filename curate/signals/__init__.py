"""Families of signals: functions from the counts, lines and words of a batch to columns, one module per family."""
