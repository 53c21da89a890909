"""Fills an empty Rucio through its own client, as an administrator would; run by the Python Rucio is installed for."""

import json
import sys

from rucio.client import Client

ALL = {"read": 1, "write": 1, "delete": 1}
DRIVERS = {"root": "rucio.rse.protocols.xrootd.Default", "davs": "rucio.rse.protocols.gfal.Default"}
ACCOUNTS = ("root", "pilot")


def add_accounts(client: Client, user: str, password: str) -> None:
    """``pilot``, and the user's certificate for both."""
    mail = "pilot@localhost"
    client.add_account("pilot", "SERVICE", mail)
    client.add_identity("pilot", "pilot", "USERPASS", mail, default=True, password=password)
    for right in ("admin", "sign-url"):
        client.add_account_attribute("pilot", right, "True")
    for account in ACCOUNTS:
        client.add_identity(account, user, "X509", mail)
    for scope, owner in (("test", "root"), ("user.pilot", "pilot")):
        client.add_scope(owner, scope)


def add_storage(client: Client, name: str, scheme: str, port: int, prefix: str, sums: bool) -> None:
    """A storage with one door, that can say what its files' checksums are, or not."""
    far = {**ALL, "third_party_copy_read": 1, "third_party_copy_write": 1}
    door = {"scheme": scheme, "hostname": "localhost", "port": port, "prefix": prefix, "impl": DRIVERS[scheme]}
    client.add_rse(name, deterministic=True)
    client.add_protocol(name, {**door, "extended_attributes": None, "domains": {"lan": ALL, "wan": far}})
    client.add_rse_attribute(name, "lfn2pfn_algorithm", "hash")
    client.add_rse_attribute(name, "site", f"SITE-{name}")
    client.add_rse_attribute(name, "verify_checksum", sums)
    for account in ACCOUNTS:
        client.set_local_account_limit(account, name, 10**15)


def main() -> None:
    wanted = json.loads(sys.argv[1])
    client = Client()
    add_accounts(client, wanted["user"], wanted["password"])
    files = [{"scope": wanted["scope"], **file} for file in wanted["files"]]
    for name, door in wanted["doors"].items():
        add_storage(client, name, *door)
        client.add_replicas(name, files)
    for one in wanted["doors"]:
        for other in set(wanted["doors"]) - {one}:
            client.add_distance(one, other, {"distance": 1})
    client.add_dataset(wanted["scope"], wanted["dataset"])
    client.attach_dids(wanted["scope"], wanted["dataset"], files)


if __name__ == "__main__":
    main()
