"""The driver of unattended trading: bell, queue, worker and service; it decides when something runs, never
what it does.
"""
