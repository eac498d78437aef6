"""Things a flow can do, and the kit to write more of them.

A provider is a class (provider.py). The kit keeps its actions durable and idempotent (store.py, service.py), carries
them on in the background (background.py), serves them over HTTP in both route layouts of the Action Provider API
(blueprint.py), finds installed ones by entry point (registry.py) and checks any provider, against the contract, ours or
a third party's (testing.py).
"""
