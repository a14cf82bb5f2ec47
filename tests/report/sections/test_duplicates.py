"""The finding on copies names each stage that looked for them."""

from curate.report.sections import duplicates


def test_stages_of_one_kind_are_told_apart_by_name() -> None:
    sources = {"web": {"of": 10, "documents": 4, "bytes": 40, "share": 0.4}}
    facts = [
        {
            "stage": stage,
            "kind": kind,
            "documents": 10,
            "copies": 4,
            "sources": sources,
            "cluster_sizes": {"1": 2},
            "hot_buckets": None,
        }
        for stage, kind in (("exact", "exact"), ("address", "exact"), ("minhash", "minhash"))
    ]
    finding = duplicates.page(facts, None).finding
    assert "40 % are exact copies by exact" in finding
    assert "40 % are exact copies by address" in finding
    assert "40 % are near copies of" in finding
    assert " by " not in duplicates.page(facts[1:], None).finding
