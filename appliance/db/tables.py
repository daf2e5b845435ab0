"""Every table of the state database: who needs them all imports ``metadata`` from here."""

from appliance.db import schema_disk, schema_people
from appliance.db.schema import metadata

__all__ = ["metadata", "schema_disk", "schema_people"]
