"""A network and a disk of its own for every node, made of what the kernel has: namespaces, veth pairs, a bridge,
nftables, ext4 in a file. Root only.

    reenter_in_own_namespaces()              # the program begins anew where nobody else sees its links and mounts
    machines = Machines(directory, 3)
    Cluster(3, places=machines.places)
    machines.cut(machines.places[0], machines.places[1])       # what 0 sends to 1 is dropped
    machines.heal()

Everything belongs to namespaces without a name: it is gone when the last process in them is gone, whatever ends it.
"""
import ctypes
import os
import shutil
import signal
import subprocess
import sys

from nodes import Place, die_with_parent, wait_until

_NET = "10.231.0"  # in a network namespace of our own: it collides with nothing
_CLIENTS = 254
_DISK_BYTES = 2 << 30  # sparse
_CLONE_NEWNET = 0x40000000
_MARK = "FLOTILLA_TORTURE_NAMESPACES"
_libc = ctypes.CDLL(None, use_errno=True)

_RULES = """
table bridge torture {
  set cut { type ifname . ifname; }
  chain bad { }
  chain forward { type filter hook forward priority 0; iifname . oifname @cut drop; jump bad; }
  chain from_nodes { type filter hook input priority 0; jump bad; }
  chain away { }
  chain in { type filter hook input priority 1; jump away; }
  chain out { type filter hook output priority 0; jump away; }
}
"""


def why_impossible():
    """A sentence, or None when this machine can do it."""
    if os.environ.get(_MARK):
        return None
    if os.geteuid() != 0:
        return "not root"
    missing = [tool for tool in ("unshare", "ip", "nft", "mount", "mkfs.ext4") if not shutil.which(tool)]
    if missing:
        return "not installed: " + ", ".join(missing)
    tried = subprocess.run(
        [
            "unshare",
            "--net",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            "ip link add br0 type bridge && nft -f -",
        ],
        input=_RULES,
        capture_output=True,
        text=True,
    )
    return None if tried.returncode == 0 else "the kernel refuses: " + tried.stderr.strip().split("\n")[0]


def reenter_in_own_namespaces():
    """Comes back only in a process that has them."""
    if os.environ.get(_MARK):
        return
    os.environ[_MARK] = "1"
    command = ["unshare", "--net", "--mount", "--propagation", "private", sys.executable, *sys.argv]
    os.execvp(command[0], command)


def _run(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")


class Machine(Place):
    """One node's surroundings."""

    def __init__(self, directory, number):
        self.number = number
        self.host = f"{_NET}.{number}"
        self.link = f"v{number}"
        self._holder = subprocess.Popen(["sleep", "infinity"], preexec_fn=self._found_namespace)
        wait_until("the namespace of a node exists", self._namespace_is_another)
        self._namespace = f"/proc/{self._holder.pid}/ns/net"
        _run("ip", "link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", self._holder.pid)
        _run("ip", "link", "set", self.link, "master", "br0", "up")
        inside = ("nsenter", f"--net={self._namespace}", "ip")
        _run(*inside, "addr", "add", f"{self.host}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _run(*inside, "link", "set", device, "up")
        self._disk = directory / f"disk{number}"
        self._disk.mkdir()
        image = directory / f"disk{number}.img"
        with open(image, "wb") as file:
            file.truncate(_DISK_BYTES)
        _run("mkfs.ext4", "-q", "-F", "-m", "0", image)
        _run("mount", "-o", "loop", image, self._disk)

    @staticmethod
    def _found_namespace():
        die_with_parent()
        if _libc.unshare(_CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare")

    def _namespace_is_another(self):
        return os.readlink(f"/proc/{self._holder.pid}/ns/net") != os.readlink("/proc/self/ns/net")

    def data_dir(self, directory, number):
        return self._disk / f"node{number}"

    def enter(self):
        with open(self._namespace) as namespace:
            if _libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")

    def fill_disk(self, leave_bytes):
        """The rest belongs to a file that nobody needs."""
        with open(self._disk / "ballast", "wb") as ballast:
            size, step = 0, _DISK_BYTES
            while step >= 4096:  # the node writes meanwhile, and the file system needs some for itself
                free = os.statvfs(self._disk)
                step = min(step, free.f_bavail * free.f_frsize - leave_bytes)
                try:
                    if step > 0:
                        os.posix_fallocate(ballast.fileno(), size, step)
                        size += step
                except OSError:
                    step //= 2

    def empty_disk(self):
        (self._disk / "ballast").unlink(missing_ok=True)

    def close(self):
        os.kill(self._holder.pid, signal.SIGKILL)
        self._holder.wait()
        subprocess.run(["ip", "link", "del", self.link], capture_output=True)  # the kernel may have been faster
        _run("umount", self._disk)


class Machines:
    def __init__(self, directory, count):
        _run("ip", "link", "set", "lo", "up")
        _run("ip", "link", "add", "br0", "type", "bridge", "forward_delay", "0")
        _run("ip", "addr", "add", f"{_NET}.{_CLIENTS}/24", "dev", "br0")
        _run("ip", "link", "set", "br0", "up")
        _run("nft", "-f", "-", input=_RULES)
        self.places = [Machine(directory, number) for number in range(1, count + 1)]

    def close(self):
        for place in self.places:
            place.close()
        _run("ip", "link", "del", "br0")
        _run("nft", "delete", "table", "bridge", "torture")

    def cut(self, sender, receiver):
        """What one node sends to another is dropped, silently."""
        _run("nft", "add", "element", "bridge", "torture", "cut", f"{{ {sender.link} . {receiver.link} }}")

    def cut_from_clients(self, place):
        """What clients and this node send to each other is dropped."""
        for direction in ("iifname", "oifname"):
            _run("nft", "add", "rule", "bridge", "torture", "away", direction, place.link, "drop")

    def lose(self, place, percent):
        """So many frames of those that a node sends and gets are lost."""
        for direction in ("iifname", "oifname"):
            chance = ("numgen", "random", "mod", "100", "<", percent)
            _run("nft", "add", "rule", "bridge", "torture", "bad", direction, place.link, *chance, "drop")

    def throttle(self, place, kbytes_per_s):
        """A node sends no more than that; TCP finds out by losses."""
        rate = ("limit", "rate", "over", kbytes_per_s, "kbytes/second")
        _run("nft", "add", "rule", "bridge", "torture", "bad", "iifname", place.link, *rate, "drop")

    def heal(self):
        _run("nft", "flush", "set", "bridge", "torture", "cut")
        for chain in ("bad", "away"):
            _run("nft", "flush", "chain", "bridge", "torture", chain)
        for place in self.places:
            place.empty_disk()
