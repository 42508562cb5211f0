"""A seeded, simulated authority: what its agencies would send, and the truth behind it.

It imitates rates and delays that are published about England; no figure from it says anything about
real families.
"""

from ehps.simulate.messages import Message, to_ndjson
from ehps.simulate.world import World, simulate

__all__ = ["Message", "World", "simulate", "to_ndjson"]
