"""A Pulumi provider for Kubernetes, for where the official plugin cannot be had.

It speaks for any kind the API server knows, and leaves to the server what the server does better:
validation (dry run), defaults, and merging (server-side apply).
"""
