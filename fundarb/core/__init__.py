"""The pure core: money, market facts, decisions and state tables; no I/O, no clock, no logging, no float."""
