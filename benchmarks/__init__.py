"""Speed of EHPS against peers and limits, in one run on one broker: `python -m benchmarks`."""
