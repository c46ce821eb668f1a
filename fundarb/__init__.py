"""fundarb harvests perpetual funding on Bybit: long spot, short the perpetual of the same coin, same
quantity.

This file owns the version number and nothing else; it must stay free of imports so that every entry point
starts fast.
"""

__version__ = "0.1.0"
