"""Parts that lab programs are built from: Pulumi components."""
