"""``python -m caxton_nats`` is ``caxton``."""

from caxton_nats.cli import main

if __name__ == "__main__":
    main()
