"""Everything that leaves the program for an exchange, real or simulated, behind the ports of the engine.

What leaves this package are core types; what enters it from outside is checked before it becomes one. Nothing
here decides what to trade, and nothing here writes to the database.
"""
