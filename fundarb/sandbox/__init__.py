"""The venue behind Bybit's wire protocol on a loopback port: REST, control API, faults; it decides nothing
about trading.
"""
