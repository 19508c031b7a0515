"""One flotillad on loopback, started as systemd would start it: with a socket on which it says how it does."""
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "support"))

from ports import free_ports

FLOTILLAD = os.environ["FLOTILLAD"]
FLOTILLA = os.environ["FLOTILLA"]
PATIENCE_S = 30


class Daemon:
    """with Daemon(watchdog_s=2) as daemon: ...      # ready"""

    def __init__(self, watchdog_s=None):
        self._temporary = tempfile.TemporaryDirectory(prefix="flotilla_daemon_")
        self.directory = pathlib.Path(self._temporary.name)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.directory / "notify"))
        self._socket.settimeout(PATIENCE_S)
        self.client_port, self.peer_port, self.http_port = free_ports(3)
        self.config = self.directory / "flotilla.yaml"
        self.log = self.directory / "log"
        self.write_config()
        self.heard = []
        environment = {**os.environ, "NOTIFY_SOCKET": str(self.directory / "notify")}
        if watchdog_s:
            environment["WATCHDOG_USEC"] = str(int(watchdog_s * 1e6))
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([FLOTILLAD, "--config", self.config], env=environment, stdout=log, stderr=log)

    def write_config(self, more=""):
        (self.directory / "data").mkdir(exist_ok=True)
        self.config.write_text(
            f"node:\n  data_dir: {self.directory}/data\n"
            "cluster:\n  name: one\n  bootstrap: single\n"
            f"listen:\n  client: 127.0.0.1:{self.client_port}\n  peer: 127.0.0.1:{self.peer_port}\n  http: 127.0.0.1:{self.http_port}\n" + more
        )

    def __enter__(self):
        try:
            self.wait_to_hear("READY=1")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self._socket.close()
        self._temporary.cleanup()

    def hear(self):
        self.heard.append(self._socket.recv(4096).decode())
        return self.heard[-1]

    def wait_to_hear(self, part):
        """The next message that contains it."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                if part in self.hear():
                    return self.heard[-1]
            except TimeoutError:
                break
        raise AssertionError(f"it never said {part!r}, but {self.heard}; its log ends: {self.log.read_text()[-1000:]}")

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/metrics", timeout=PATIENCE_S) as answer:
            return answer.read().decode()

    def metric(self, name):
        for line in self.metrics().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        return None

    def flotilla(self, *arguments, **options):
        return subprocess.run([FLOTILLA, "-b", f"127.0.0.1:{self.client_port}", "--timeout", "20s", *arguments],
                              check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options).stdout

    def use(self):
        """A record is written and read, so that everything has a metric."""
        self.flotilla("topic", "create", "used", "-p", "1", "-r", "1")
        self.flotilla("produce", "used", input="hello\n")
        assert "hello" in self.flotilla("consume", "used", "--from", "start", "--until-end")
