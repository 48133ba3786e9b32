"""A Python language host for Pulumi, for where the official one cannot be had.

It stands beside the provider in a folder of its own: each is put on PATH only where its official
counterpart is absent. Programs and the engine notice no difference.
"""
