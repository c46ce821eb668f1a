"""Settings: flags, ``FUNDARB_*``, ``.env``, ``fundarb.toml`` and ``jobs.toml`` become frozen values, or one
error with every problem.

The only room that knows configuration files, environment names and secrets' places; pydantic, platformdirs
and dotenv live here. It reads no clock, creates nothing, and never prints.
"""

from fundarb.config.jobs import JobSpec, Trigger, load_jobs, parse_jobs, read_jobs
from fundarb.config.load import load
from fundarb.config.places import masked_url
from fundarb.config.schema import Credentials, FileSettings, Mode, Settings, VenueName
from fundarb.config.secrets import secrets_of
from fundarb.config.sources import Flags

__all__ = [
    "Credentials",
    "FileSettings",
    "Flags",
    "JobSpec",
    "Mode",
    "Settings",
    "Trigger",
    "VenueName",
    "load",
    "load_jobs",
    "masked_url",
    "parse_jobs",
    "read_jobs",
    "secrets_of",
]
