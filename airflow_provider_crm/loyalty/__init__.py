"""Credits of loyalty points, each applied exactly once: ledger, baselines, doubts, sending."""
