"""Quality signals: functions that compute columns from the counts, lines and words of a batch, a module per family."""
