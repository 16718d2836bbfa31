"""Region energies: what it costs to call a grey level inside or outside."""
