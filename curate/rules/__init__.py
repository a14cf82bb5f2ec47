"""SQL rules over columns, and the published rule sets."""
