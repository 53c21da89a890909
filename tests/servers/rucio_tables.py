"""Makes Rucio's tables and its first account; run by the Python that Rucio is installed for."""

from rucio.db.sqla.util import build_database, create_base_vo, create_root_account

build_database()
create_base_vo()
create_root_account()
