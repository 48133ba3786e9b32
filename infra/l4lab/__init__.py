"""l4lab: real Kubernetes clusters for labs about Services, and proof that each lab teaches the truth."""

__version__ = "0.1.0"
