"""A framework on mesoshttp, or on avmesos, which is made from it, unmodified: runs one task and says what it hears.

    with_mesoshttp.py mesoshttp|avmesos MASTER NAME TASK LINE
"""

import importlib
import logging
import sys
import threading

from said import say, task


def main():
    logging.basicConfig(level=logging.INFO)
    library, master, name, task_id, line = sys.argv[1:6]
    MesosClient = importlib.import_module(library + ".client").MesosClient
    client = MesosClient(mesos_urls=[master], frameworkName=name, frameworkUser="nobody")
    client.set_failover_timeout(60)
    launched = threading.Event()

    def subscribed(driver):
        say("registered", id=client.frameworkId, master=client.get_master_info())

    def offered(offers):
        for offer in offers:
            if launched.is_set():
                offer.decline()
            else:
                launched.set()
                offer.accept([task(offer.get_offer(), task_id, line)])
                say("launched", task=task_id)

    def updated(update):
        status = update["status"]
        say("update", task=status["task_id"]["value"], state=status["state"], message=status.get("message"))
        if status["state"] not in ("TASK_STAGING", "TASK_STARTING", "TASK_RUNNING"):
            client.tearDown()

    client.on(MesosClient.SUBSCRIBED, subscribed)
    client.on(MesosClient.OFFERS, offered)
    client.on(MesosClient.UPDATE, updated)
    client.on(MesosClient.ERROR, lambda message: say("error", message=message))
    client.on(MesosClient.HEARTBEAT, lambda _: say("heartbeat"))
    client.register()
    say("stopped")


if __name__ == "__main__":
    main()
