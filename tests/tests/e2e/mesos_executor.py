"""An executor of Mesos's HTTP API, with what Python brings along: does what the data of its tasks says."""

import base64
import http.client
import json
import os
import threading
import uuid

ENV = os.environ
HOST, PORT = ENV["MESOS_AGENT_ENDPOINT"].rsplit(":", 1)
NAMES = {
    "framework_id": {"value": ENV["MESOS_FRAMEWORK_ID"]},
    "executor_id": {"value": ENV["MESOS_EXECUTOR_ID"]},
}
HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}
if "SHOWS_TOKEN" in ENV:
    HEADERS["Authorization"] = "Bearer " + ENV["MESOS_EXECUTOR_AUTHENTICATION_TOKEN"]
PAUSE = threading.Event()
LOCK = threading.Lock()
# What nobody has acknowledged.
tasks, updates = {}, {}


def text(data):
    return base64.b64encode(data).decode()


def call(kind, **body):
    connection = http.client.HTTPConnection(HOST, int(PORT), timeout=10 if body.get("update") else None)
    connection.request("POST", "/api/v1/executor", json.dumps(dict(NAMES, type=kind, **body)), HEADERS)
    return connection, connection.getresponse()


def tell(task, state, data=b""):
    status = {
        "task_id": {"value": task}, "state": state, "source": "SOURCE_EXECUTOR",
        "uuid": text(uuid.uuid4().bytes), "data": text(data),
    }
    with LOCK:
        updates[status["uuid"]] = {"status": status}
    try:
        connection, answer = call("UPDATE", update={"status": status})
        print(state, answer.status, answer.read(), flush=True)
        connection.close()
    except OSError as error:
        print("told later:", error, flush=True)


def when_there_is(path, then):
    while not os.path.exists(path):
        PAUSE.wait(0.05)
    then()


def launch(task):
    name = task["task_id"]["value"]
    with LOCK:
        assert name not in tasks, "handed over twice"
        tasks[name] = task
    what = base64.b64decode(task["data"]).decode()
    pid = str(os.getpid()).encode()
    if what == "silence":
        return
    if what == "loss":
        return tell(name, "TASK_LOST")
    tell(name, "TASK_RUNNING", pid)
    if what == "end":
        tell(name, "TASK_FINISHED", b"done")
    if what == "gate":
        gate = os.path.join(ENV["MESOS_SANDBOX"], "gate-" + name)
        then = lambda: tell(name, "TASK_FINISHED", b"through the gate")
        threading.Thread(target=when_there_is, args=(gate, then), daemon=True).start()


def say(data):
    connection, answer = call("MESSAGE", message={"data": text(data)})
    assert answer.status == 202, answer.read()
    connection.close()


def take(event):
    kind = event["type"]
    print(kind, flush=True)
    body = event.get(kind.lower())
    if kind == "SUBSCRIBED":
        assert body["executor_info"]["executor_id"] == NAMES["executor_id"]
        assert body["framework_info"]["id"] == NAMES["framework_id"]
        say(json.dumps({"framework": body["framework_info"], "agent": body["agent_info"]}).encode())
    elif kind == "LAUNCH":
        launch(body["task"])
    elif kind == "KILL":
        tell(body["task_id"]["value"], "TASK_KILLED")
    elif kind == "ACKNOWLEDGED":
        with LOCK:
            updates.pop(body["uuid"], None)
            tasks.pop(body["task_id"]["value"], None)
    elif kind == "MESSAGE":
        say(b"heard: " + base64.b64decode(body["data"]))
    elif kind == "SHUTDOWN":
        os._exit(0)


def subscribe():
    with LOCK:
        had = {"unacknowledged_tasks": list(tasks.values()), "unacknowledged_updates": list(updates.values())}
    _connection, answer = call("SUBSCRIBE", subscribe=had)
    if answer.status != 200:
        return print(answer.status, answer.read(), flush=True)
    while True:
        length = answer.readline()
        if not length:
            return
        take(json.loads(answer.read(int(length))))


while True:
    try:
        subscribe()
    except (OSError, http.client.HTTPException) as error:
        print("not there:", error, flush=True)
    PAUSE.wait(0.2)
