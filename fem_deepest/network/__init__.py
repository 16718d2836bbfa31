"""Networks as dynamical systems in depth: activations, schemes, the flow and its adjoints, losses."""
