"""The flow service: interpreter, durable engine, REST API, clients. See docs/architecture.md for its floors."""

__version__ = "0.1.0"
