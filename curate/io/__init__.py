"""Input: readers of all supported formats, which turn files into documents and quarantine what they cannot read."""
