"""All ports in this process's memory: for tests and demos, and a second reading of the contract."""

from caxton_nats.memory.broker import MemoryBroker

__all__ = ["MemoryBroker"]
