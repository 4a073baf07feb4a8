"""A market of hauliers: contract-net negotiation among agents that are processes of their own.

Read `manager.py` and `bidder.py` first: they are the agents. `story.py` is what happens to them.
"""
