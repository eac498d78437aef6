"""Functions elsewhere: the compute service, its agent and SDK. The room is laid out; nothing is in it yet."""
