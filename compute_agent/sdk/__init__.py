"""The SDK: ``Client`` for functions, endpoints and tasks, ``Executor`` for futures."""
