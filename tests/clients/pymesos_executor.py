"""An executor on pymesos, unmodified, that does what the data of its tasks says and answers messages."""

import os

from pymesos import Executor, MesosExecutorDriver, decode_data, encode_data


def say(driver, text):
    driver.sendFrameworkMessage(encode_data(text.encode()))


def tell(driver, task_id, state, data):
    driver.sendStatusUpdate({"task_id": task_id, "state": state, "data": encode_data(data.encode())})


class Worker(Executor):
    returns = 0

    def registered(self, driver, executor_info, framework_info, agent_info):
        say(driver, "registered for %s on %s" % (framework_info["name"], agent_info["id"]["value"]))

    def reregistered(self, driver, agent_info):
        self.returns += 1

    def launchTask(self, driver, task):
        tell(driver, task["task_id"], "TASK_RUNNING", str(os.getpid()))
        if decode_data(task["data"]) == b"end":
            tell(driver, task["task_id"], "TASK_FINISHED", "done")

    def killTask(self, driver, task_id):
        tell(driver, task_id, "TASK_KILLED", "killed")

    def frameworkMessage(self, driver, message):
        say(driver, "heard after %d returns: %s" % (self.returns, decode_data(message).decode()))


if __name__ == "__main__":
    MesosExecutorDriver(Worker()).run()
