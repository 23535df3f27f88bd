"""From a scalar rule to machine code."""
