"""From a scalar Python function to machine code: specialized, checked, compiled, kept on disk."""
