"""Sources of prices and funding for the venue engine: a synthetic market and the replay of recorded data."""
