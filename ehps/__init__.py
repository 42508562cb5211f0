"""The profiling system itself: log, facts, kernel, policy, advance. Pure: no clock, no network, no environment."""
