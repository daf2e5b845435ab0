"""The words of a kit's sheets, as they would stand on paper."""

from pathlib import Path

from appliance.clock import utc_now
from appliance.db.engine import Database
from appliance.jobs.kit_words import KitPlan
from appliance.replication import kit

TWO_OF_THREE = KitPlan(2, ("Dr Martin", "Dr Petit", "Me Roux"))


def split(database: Database, keys: Path, plan: KitPlan = TWO_OF_THREE) -> list[str]:
    """Print in another room: the words of each sheet."""
    with database.write() as connection:
        sheets = kit.split(
            connection, keys, needed=plan.needed, holders=plan.holders, now=utc_now()
        )
    return [" ".join(each.words) for each in sheets]
