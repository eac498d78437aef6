"""Functions elsewhere: the compute service, the agent that runs at a facility, and the SDK.

The service keeps functions, endpoints and tasks in the database and never looks into what it carries. The agent leases
tasks over outbound HTTP, runs them on an engine and reports. ``wire`` holds what they say to each other.
"""
