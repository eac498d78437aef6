"""Things that start later: schedules and timers. The room is laid out; nothing is in it yet."""
