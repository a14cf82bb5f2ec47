"""Methods that the deduplication stages share: scopes, candidates, clusters and survivors."""
