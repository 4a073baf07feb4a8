"""The JetStream adapter: the only place that knows nats-py and the words of the NATS protocol."""
