"""An annealed flow as a PETSc time stepper: options and monitors of TS for one column."""
