"""Durable state: the only room that knows SQL. Positions, intents, executions, ledger, blocks, commands,
events and the writer's lock.
"""
