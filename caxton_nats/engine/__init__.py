"""The pipeline over the ports: what awaits. Decisions are in core, actions in an adapter."""
