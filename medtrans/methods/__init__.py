"""How one batch updates a set of networks."""
