"""What the stages that find duplicates share: who is compared with whom, candidates, clusters, survivors."""
