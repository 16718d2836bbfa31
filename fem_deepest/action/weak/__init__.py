"""The weak-constraint problem of one path: state, saddle and forcing form, Hamiltonian picture."""
