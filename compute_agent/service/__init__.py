"""The compute service: functions, endpoints and tasks in the database. It carries code and data as text and never looks
into them."""
