"""Newton on the forms of the weak-constraint problem."""
