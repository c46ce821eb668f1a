"""Use cases: what fundarb does with a market, an account and a store, through the ports it declares
itself.
"""
