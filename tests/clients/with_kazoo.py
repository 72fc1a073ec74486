"""What kazoo, unmodified, reads of who leads, and hears of changes.

    with_kazoo.py HOSTS

Says the leader whenever it changes. Orders: `look` reads everything once more, `write` tries to, `stop`.
"""

import json
import logging
import sys

from kazoo.client import KazooClient
from kazoo.exceptions import NodeExistsError, NotReadOnlyCallError, NoNodeError

from said import orders, say

PATH = "/mesos"


def main():
    logging.basicConfig(level=logging.INFO)
    client = KazooClient(sys.argv[1], timeout=10)
    client.add_listener(lambda state: say("state", state=str(state)))
    client.start()

    @client.ChildrenWatch(PATH)
    def changed(names):
        for name in names:
            try:
                data, stat = client.get(PATH + "/" + name)
            except NoNodeError:
                continue
            info = json.loads(data.decode("utf-8"))
            say("leader", name=name, address=info["address"], pid=info["pid"], length=stat.data_length)
        if not names:
            say("no leader")

    for order, _ in orders():
        if order == "look":
            names, stat = client.get_children(PATH, include_data=True)
            say("looked", names=names, children=stat.children_count, root=client.get_children("/"),
                there=client.exists(PATH) is not None, nowhere=client.exists("/nowhere") is not None)
        elif order == "write":
            failures = []
            for write, failure in [
                (lambda: client.create(PATH, b""), NodeExistsError),
                (lambda: client.create("/other", b""), NotReadOnlyCallError),
                (lambda: client.set(PATH, b"x"), NotReadOnlyCallError),
                (lambda: client.delete(PATH), NotReadOnlyCallError),
            ]:
                try:
                    write()
                except failure as error:
                    failures.append(type(error).__name__)
            say("refused", failures=failures)
        elif order == "stop":
            client.stop()
            client.close()
            say("stopped")
            return


if __name__ == "__main__":
    main()
