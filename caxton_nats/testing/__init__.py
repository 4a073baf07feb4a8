"""What users need to test their agents: the same engine in memory, in virtual time, with a journal.

`memory_platform` stands where a program has ``caxton_nats.connect``; agents are started on it with
``caxton_nats.started``. `run_in_virtual_time` runs a test whose hours take no time. `Journal` is
told of every outcome, and says in readable lines who said what to whom. As a pytest plug-in the
package brings the fixtures ``caxton`` and ``journal`` and the marker ``virtual_time``
(`caxton_nats.testing.plugin`).
"""

from caxton_nats.testing.journal import Journal
from caxton_nats.testing.platforms import memory_platform
from caxton_nats.testing.virtual_time import Stuck, VirtualClock, run_in_virtual_time

__all__ = ["Journal", "Stuck", "VirtualClock", "memory_platform", "run_in_virtual_time"]
