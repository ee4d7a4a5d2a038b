"""uploaderd: a message-driven daemon that brings measurement files home and catalogues them."""

__version__ = "0.1.0"
