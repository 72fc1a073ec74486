"""What pymesos's driver for operators, unmodified, hears and reads of the cluster.

    watch_with_pymesos.py MASTER

Orders: `read TYPE` calls getTYPE, `stop`.
"""

import logging
import sys

from pymesos import MesosOperatorMasterDriver, OperatorMaster

from said import orders, say


class Operator(OperatorMaster):
    def taskAdded(self, task):
        say("task added", task=task["task_id"]["value"], state=task["state"])

    def taskUpdated(self, update):
        status = update["status"]
        say("task updated", task=status["task_id"]["value"], state=update["state"], told=status["state"])

    def frameworkAdded(self, framework):
        say("framework added", name=framework["framework_info"]["name"])

    def frameworkUpdated(self, framework):
        say("framework updated", name=framework["framework_info"]["name"], active=framework.get("active"))

    def frameworkRemoved(self, framework_info):
        say("framework removed", name=framework_info["name"])

    def agentAdded(self, agent):
        say("agent added", agent=agent["agent_info"]["id"]["value"])

    def agentRemoved(self, agent_id):
        say("agent removed", agent=agent_id)


class Driver(MesosOperatorMasterDriver):
    """Says when it has subscribed, which the library only logs, and when its stream has ended."""

    def on_subscribed(self, info):
        super().on_subscribed(info)
        state = info["get_state"]
        say("subscribed", agents=len(state["get_agents"]["agents"]), tasks=len(state["get_tasks"]["tasks"]))

    def on_close(self):
        super().on_close()
        say("closed")


def main():
    logging.basicConfig(level=logging.INFO)
    driver = Driver(sys.argv[1], Operator())
    driver.start()
    for order, rest in orders():
        if order == "read":
            say("read", answer=getattr(driver, "get" + rest)())
        elif order == "stop":
            driver.stop()
            driver.join()
            say("stopped")
            return


if __name__ == "__main__":
    main()
