"""Multiple shooting in depth: the states at the ends of slabs are unknowns, and all slabs work at once."""
