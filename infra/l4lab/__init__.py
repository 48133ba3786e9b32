"""l4lab: real Kubernetes clusters for labs about Services, and proof that each lab works."""

__version__ = "0.1.0"
