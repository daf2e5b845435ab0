"""Which visitors are at the practice, as the database and the box's interfaces say."""

import pytest

from appliance.clock import utc_now
from appliance.db import facts, local_networks


@pytest.mark.parametrize(
    ("address", "near", "local"),
    [
        ("192.168.1.7", True, True),
        ("::ffff:192.168.1.7", True, True),
        ("10.113.77.9", True, False),  # a device's in the tunnel
        ("::ffff:10.113.77.9", True, False),
        ("192.168.2.7", False, False),
        ("nobody", False, False),
    ],
)
def test_a_visitor_is_near_in_either_way_of_writing_an_address(database, address, near, local):
    """A socket of both families tells of an IPv4 visitor in the disguise of IPv6."""
    with database.write() as connection:
        facts.put(connection, local_networks.FACT, ["192.168.1.0/24"], now=utc_now())
    with database.read() as connection:
        assert local_networks.is_near(connection, address) is near
        assert local_networks.is_local(connection, address) is local
