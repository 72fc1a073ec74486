"""Installs the clients that tests run into a place of their own: `install.py DIRECTORY`, for `cargo xtask clients`."""

import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Whoever looks for the clients compares this file with the lists, and installs anew when they differ.
INSTALLED = "installed.txt"


def main():
    target = Path(sys.argv[1])
    shutil.rmtree(target, ignore_errors=True)
    venv.create(target, with_pip=True)
    python = str(target / "bin" / "python")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    lists = [HERE / "requirements.txt", HERE / "http-parser.txt"]
    subprocess.run(pip + ["install", "--no-deps", "--only-binary", ":all:", "--no-binary", "pymesos", "-r", str(lists[0])], check=True)
    with tempfile.TemporaryDirectory() as place:
        source = ["download", "--no-deps", "--no-binary", ":all:", "--dest", place, "-r", str(lists[1])]
        subprocess.run(pip + source, check=True)
        [archive] = Path(place).glob("http*parser-*.tar.gz")
        command = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        packages = Path(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())
        unpack(archive, packages / "http_parser")
    subprocess.run([python, "-c", "import pymesos, mesoshttp.client, avmesos.client"], check=True)
    (target / INSTALLED).write_text("".join(file.read_text() for file in lists))


def unpack(archive, package):
    """Takes the modules in Python out of http-parser's source."""
    package.mkdir()
    with tarfile.open(archive) as members:
        for member in members:
            path = Path(member.name)
            if member.isfile() and path.suffix == ".py" and path.parent.name == "http_parser":
                (package / path.name).write_bytes(members.extractfile(member).read())


if __name__ == "__main__":
    main()
