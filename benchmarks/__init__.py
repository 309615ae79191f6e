"""Programs that measure; benchmarks/RESULTS.md says what they found."""
