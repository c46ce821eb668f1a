"""Telling people: messages through the configured channels, from a thread of their own, never in the way of
trading.
"""
