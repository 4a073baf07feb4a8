"""The decisions of caxton-nats: values in, values out.

Nothing here knows an event loop, a clock, randomness, the environment or NATS. Read the modules
in the order a message meets them: codec, validation, conversation, registry, routing,
disposition, dead_letter.
"""
