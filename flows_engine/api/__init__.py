"""REST: HTTP in, one call of a use case, HTTP out. One module per noun, each service in its own error envelope."""
