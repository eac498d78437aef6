"""The rows of the compute service: the only SQL of it. Functions take ``tx`` and never begin or commit.

What may be locked, always in this order, and rows of one kind by rising number: an endpoint (shared by those who add
tasks, alone by those who change the state of its tasks), a submission, task groups, tasks, users. A task's state
changes only under the lock of its endpoint, so tasks need no locks of their own and nothing can wait in a circle.
"""
