"""A framework on pymesos, unmodified, that does what it is told on standard input and says what it hears.

    with_pymesos.py MASTER NAME [--id FRAMEWORK_ID] [--principal NAME --secret SECRET] [--executor JSON]

Orders: `launch ID LINE`, `execute ID WORK` (on the executor), `message TEXT` (to it), `kill ID`, `reconcile`, `revive`, `stop` (tears the framework down), `leave` (it may come back).
"""

import argparse
import json
import logging
import threading

from pymesos import MesosSchedulerDriver, Scheduler, decode_data, encode_data

from said import orders, say, task


class Framework(Scheduler):
    def __init__(self, executor):
        self.lock = threading.Lock()
        self.executor = executor
        # The agent on which it runs.
        self.agent_id = None
        self.waiting = []
        self.offers = {}

    def registered(self, driver, framework_id, master_info):
        say("registered", id=framework_id["value"], version=driver.version)

    def reregistered(self, driver, master_info):
        say("reregistered", id=driver.framework_id)

    def disconnected(self, driver):
        with self.lock:
            self.offers.clear()
        say("disconnected")

    def resourceOffers(self, driver, offers):
        with self.lock:
            for offer in offers:
                self.offers[offer["id"]["value"]] = offer
        say("offers", hosts=[offer["hostname"] for offer in offers])
        self.launch_what_waits(driver)

    def offerRescinded(self, driver, offer_id):
        with self.lock:
            self.offers.pop(offer_id["value"], None)
        say("rescinded")

    def statusUpdate(self, driver, update):
        say(
            "update",
            task=update["task_id"]["value"],
            state=update["state"],
            reason=update.get("reason"),
            message=update.get("message"),
            acknowledged="uuid" in update,
            data=decode_data(update.get("data", "")).decode(),
        )

    def frameworkMessage(self, driver, executor_id, agent_id, message):
        say("message", executor=executor_id["value"], agent=agent_id["value"], text=decode_data(message).decode())

    def slaveLost(self, driver, agent_id):
        say("agent lost", agent=agent_id["value"])

    def error(self, driver, message):
        say("error", message=message)

    def launch_what_waits(self, driver):
        """Launches each task that waits, on an offer of its own; a call that finds no stream is made again later."""
        while True:
            with self.lock:
                if not (self.waiting and self.offers and driver.connected):
                    return
                task_id, line, executes = self.waiting.pop(0)
                _, offer = self.offers.popitem()
            info = task(offer, task_id, line)
            if executes:
                del info["command"]
                info.update(executor=self.executor, data=encode_data(line.encode()))
                self.agent_id = offer["agent_id"]
            driver.launchTasks(offer["id"], [info], {"refuse_seconds": 0.0})
            say("launched", task=task_id)


def main():
    logging.basicConfig(level=logging.INFO)
    parser = argparse.ArgumentParser()
    for positional in ("master", "name"):
        parser.add_argument(positional)
    for option in ("--id", "--principal", "--secret", "--executor"):
        parser.add_argument(option)
    told = parser.parse_args()
    framework = {"user": "nobody", "name": told.name, "hostname": "localhost", "failover_timeout": 300.0}
    if told.id:
        framework["id"] = {"value": told.id}
    scheduler = Framework(json.loads(told.executor or "null"))
    driver = MesosSchedulerDriver(scheduler, framework, told.master, principal=told.principal, secret=told.secret)
    driver.start()
    for order, rest in orders():
        if order in ("launch", "execute"):
            with scheduler.lock:
                scheduler.waiting.append(rest.split(" ", 1) + [order == "execute"])
            scheduler.launch_what_waits(driver)
        elif order == "message":
            driver.sendFrameworkMessage(scheduler.executor["executor_id"], scheduler.agent_id, encode_data(rest.encode()))
        elif order == "kill":
            driver.killTask({"value": rest})
        elif order == "reconcile":
            driver.reconcileTasks([])
        elif order == "revive":
            driver.reviveOffers()
        elif order in ("stop", "leave"):
            driver.stop(failover=order == "leave")
            driver.join()
            say("stopped")
            return


if __name__ == "__main__":
    main()
