"""Use cases of the flow service. One method is one transaction; policy decides, store writes, asl computes."""
