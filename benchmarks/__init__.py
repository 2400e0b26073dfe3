"""How fast Sluice is beside the least that could do the same. One module per benchmark, run by ``scripts/bench NAME``."""
