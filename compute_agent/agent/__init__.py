"""The agent: what a facility installs to offer an endpoint. Outbound HTTP only; no web framework, no database server.

``book`` decides (pure), ``journal`` remembers (a SQLite file, synced), ``loop`` talks to the service and the engines."""
