"""A simulated exchange: books, orders, one unified account, margin and funding. Pure and deterministic."""
