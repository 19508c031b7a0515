"""Machines that boot a real systemd: containers (systemd-nspawn) with addresses and disks of their own.

    with Machines(3) as machines:                # booted; the caller is a fourth machine, 10.99.0.254
        machines[0].run("systemctl", "start", "flotilla")
        machines[0].power_cut()                  # every process dies, and what was not synced is lost
        machines[0].boot()

A test program calls enter() first: it goes on in network, mount and process namespaces of its own, so that nothing of this
machine is touched and everything ends with the program, however it ends. Root only. The root file system is Debian's base with
what the package depends on, made once by mmdebstrap and kept in ROOT_CACHE.
"""
import ctypes
import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

ROOT_CACHE = pathlib.Path("/var/tmp/flotilla-deploy-tests")
NETWORK = "10.99.0"
SKIPPED = 77  # the exit status that ctest knows
DISK_BYTES = 4 << 30  # sparse
_INSIDE = "FLOTILLA_DEPLOY_INSIDE"
_CGROUPS = pathlib.Path("/sys/fs/cgroup")
_NEEDED = ("systemd-nspawn", "mmdebstrap", "ip", "nft", "mkfs.ext4", "unshare", "nsenter", "dpkg-deb", "dh")
_BASE = ["systemd", "systemd-sysv", "dbus", "libnss-systemd", "procps"]
# Units that a container has no use for.
_MASKED = ("getty.target console-getty.service systemd-udevd.service systemd-logind.service systemd-timesyncd.service "
           "apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer").split()
# ioctls of ext4: end of all writing, now; what is in the journal's memory is not written either.
_EXT4_SHUTDOWN, _NO_LOG_FLUSH = 0x8004587D, 2


def call(*command, **options):
    """Runs it; says what it said when it fails. Its standard output."""
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: exit status {done.returncode}\n{done.stdout}")
    return done.stdout


# ---- Into namespaces of our own --------------------------------------------------------------------------------------


def enter(package):
    """Returns inside, with an empty directory to work in. Outside it does not return: it runs the program again, inside."""
    if _INSIDE in os.environ:
        call("mount", "-t", "tmpfs", "tmpfs", "/run/netns")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the first process of a namespace hears no other way
        return pathlib.Path(os.environ[_INSIDE])
    missing = [program for program in _NEEDED if shutil.which(program) is None]
    if os.geteuid() != 0 or missing:
        print(f"skipped: this needs {'root' if os.geteuid() != 0 else 'the programs ' + ' '.join(missing)}")
        sys.exit(SKIPPED)
    os.makedirs("/run/netns", exist_ok=True)
    work = tempfile.mkdtemp(prefix="flotilla_deploy_", dir="/var/tmp")
    deb = package(pathlib.Path(work))
    environment = {_INSIDE: work, "FLOTILLA_DEPLOY_ROOT": str(_root_file_system(deb)), "FLOTILLA_DEB": str(deb)}
    libc = ctypes.CDLL(None)
    try:
        sys.exit(
            subprocess.run(
                ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private",
                 sys.executable, *sys.argv],
                env={**os.environ, **environment},
                preexec_fn=lambda: libc.prctl(1, signal.SIGKILL),  # PR_SET_PDEATHSIG
            ).returncode
        )
    finally:
        for group in _cgroups(pathlib.Path(work).name):
            for directory, *_ in os.walk(group, topdown=False):
                for _ in range(100):  # processes that were killed leave their group in their own time
                    try:
                        os.rmdir(directory)
                        break
                    except FileNotFoundError:
                        break
                    except OSError:
                        time.sleep(0.02)
        shutil.rmtree(work, ignore_errors=True)


def _root_file_system(deb):
    depends = call("dpkg-deb", "-f", deb, "Depends").strip()
    first = [re.sub(r"\(.*?\)|\|.*", "", one).strip() for one in depends.split(",")]
    packages = sorted({*_BASE, *first})
    root = ROOT_CACHE / ("root-" + hashlib.sha256(" ".join(packages).encode()).hexdigest()[:12])
    if root.exists():
        return root
    ROOT_CACHE.mkdir(exist_ok=True)
    making = pathlib.Path(tempfile.mkdtemp(dir=ROOT_CACHE))
    suite = re.search(r"^VERSION_CODENAME=(\w+)", pathlib.Path("/etc/os-release").read_text(), re.M)[1]
    # Sources and transport are apt's own, whatever they are.
    sources = call("apt-get", "indextargets", "--format",
                   "$(TARGET_OF)|deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(SITE) $(RELEASE) $(COMPONENT)",
                   "Created-By: Packages")
    lines = {line.removeprefix("deb|") for line in sources.splitlines() if line.startswith("deb|") and suite in line}
    (making / "sources.list").write_text("\n".join(sorted(lines)) + "\n")
    options = [line for line in call("apt-config", "dump").splitlines() if re.match("Acquire::(http|https|Check-|Retries|ForceIPv)", line)]
    (making / "apt.conf").write_text("\n".join(options) + "\n")
    call("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=dir", "--include=" + ",".join(packages),
         f"--aptopt={making}/apt.conf", "--skip=check/empty", "--dpkgopt=path-exclude=/usr/share/doc/*",
         "--dpkgopt=force-unsafe-io", suite, making / "root", making / "sources.list")
    _make_bootable(making / "root")
    (making / "root").rename(root)
    shutil.rmtree(making)
    return root


def _make_bootable(root):
    (root / "etc/machine-id").write_text("")
    for name in ("etc/hostname", "etc/fstab"):
        (root / name).unlink(missing_ok=True)
    for unit in _MASKED:
        link = root / "etc/systemd/system" / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    journal = root / "etc/systemd/journald.conf.d"
    journal.mkdir(parents=True, exist_ok=True)
    (journal / "machine.conf").write_text("[Journal]\nStorage=persistent\nRateLimitIntervalSec=0\n")


def _cgroups(name):
    """A group of ours in each hierarchy, below where we are: limits over us still hold."""
    groups = []
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        hierarchy = controllers.removeprefix("name=") or ("unified" if (_CGROUPS / "unified").exists() else ".")
        groups.append(_CGROUPS / hierarchy / path.lstrip("/") / name)
    return groups


# ---- Machines --------------------------------------------------------------------------------------------------------

_BOOT = r"""
set -e
for group in $groups; do echo $$ > "$group/cgroup.procs"; done
mkdir -p "$home/disk" "$home/root" "$home/upper" "$home/overlay"
mount -o loop "$home/disk.img" "$home/disk"
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$home/upper,workdir=$home/overlay" "$home/root"
rmdir "$home/disk/lost+found" 2>/dev/null || true
mkdir -p "$home/root/var/lib/flotilla"
exec systemd-nspawn --quiet --register=no --keep-unit --machine="$name" --hostname="$name" --directory="$home/root" \
  --bind="$home/disk:/var/lib/flotilla" --network-namespace-path="/run/netns/$name" --resolv-conf=off --timezone=off \
  --link-journal=no --console=pipe --kill-signal=SIGRTMIN+3 --capability=CAP_BPF --system-call-filter=bpf \
  /lib/systemd/systemd --log-target=journal
"""


def wait_for(what, holds, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while not (last := holds()):
        if time.monotonic() > deadline:
            raise AssertionError(f"after {timeout_s} s still not so: {what} (last seen: {last!r})")
        time.sleep(0.03)
    return last


class Machine:
    def __init__(self, number, work):
        self.number = number
        self.name = f"m{number}"
        self.ip = f"{NETWORK}.{number}"
        self._home = work / self.name
        self._home.mkdir()
        self._groups = [group / self.name for group in _cgroups(work.name)]
        self._process = None
        self.new_disk()

    # ---- life

    def boot(self):
        assert not self.running
        for group in self._groups:
            group.mkdir(parents=True, exist_ok=True)
            for cpuset in ("cpuset.cpus", "cpuset.mems"):  # a group without them takes no process
                for one in (group.parent, group):
                    if (one / cpuset).exists() and not (one / cpuset).read_text().strip():
                        (one / cpuset).write_text((one.parent / cpuset).read_text())
        with open(self._home / "console.log", "ab") as console:
            self._process = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "bash", "-c", _BOOT],
                env={**os.environ, "home": self._home, "lower": os.environ["FLOTILLA_DEPLOY_ROOT"], "name": self.name,
                     "groups": " ".join(map(str, self._groups))},
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
            )
        wait_for(f"{self.name} is up", self._is_up)
        self.heal()

    def _is_up(self):
        assert self.running, f"{self.name} does not boot: {(self._home / 'console.log').read_text(errors='replace')[-2000:]}"
        state = self.run("systemctl", "is-system-running", check=False) if self._first_process() else ""
        return state.strip() in ("running", "degraded")

    @property
    def running(self):
        return self._process is not None and self._process.poll() is None

    def _first_process(self):
        try:
            children = pathlib.Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        except FileNotFoundError:
            return None
        return int(children[0]) if children and pathlib.Path(f"/proc/{self._process.pid}/comm").read_text().startswith("systemd-nspawn") else None

    def run(self, *command, check=True, stdin=""):
        """A command as root on the machine; its output."""
        enter = ["nsenter", "-t", str(self._first_process()), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--", "env", "-i",
                 "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"]
        done = subprocess.run([*enter, *map(str, command)], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if check and done.returncode != 0:
            raise AssertionError(f"on {self.name}: {' '.join(map(str, command))}: exit status {done.returncode}\n{done.stdout}")
        return done.stdout

    def write(self, path, text):
        self.run("sh", "-c", 'mkdir -p "$(dirname "$0")" && cat > "$0"', path, stdin=text)

    def copy_in(self, file, path):
        shutil.copy(file, f"/proc/{self._first_process()}/root{path}")

    def power_cut(self):
        self.cut()
        self.break_disk()
        self.kill()

    def kill(self):
        self.cut()  # who is dead answers nothing, not even a reset
        self._end(signal.SIGKILL)

    def _end(self, how):
        self.thaw()
        first = self._first_process()
        if first:
            os.kill(first, how)
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._wait_until_the_disk_is_free()

    def _wait_until_the_disk_is_free(self):
        image = str(self._home / "disk.img")
        wait_for(f"the disk of {self.name} is free", lambda: not call("losetup", "-j", image))

    # ---- disk

    def new_disk(self):
        assert not self.running
        image = self._home / "disk.img"
        image.unlink(missing_ok=True)
        with open(image, "wb") as file:
            file.truncate(DISK_BYTES)
        call("mkfs.ext4", "-q", "-F", "-m", "0", image)

    def _disk(self):
        return pathlib.Path(f"/proc/{self._process.pid}/root{self._home}/disk")

    def break_disk(self):
        """From now on every write and sync of it fails; what was not synced is lost. Booting again mends it."""
        directory = os.open(self._disk(), os.O_RDONLY)
        try:
            fcntl.ioctl(directory, _EXT4_SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(directory)

    def fill_disk(self):
        """Nothing is free any more."""
        with open(self._disk() / "filler", "wb") as file:
            step = 256 << 20
            size = 0
            while step >= 4096:
                try:
                    os.posix_fallocate(file.fileno(), size, step)
                    size += step
                except OSError:
                    step //= 2

    def free_disk(self):
        (self._disk() / "filler").unlink()

    # ---- time

    def freeze(self):
        self._freeze(True)

    def thaw(self):
        self._freeze(False)

    def _freeze(self, frozen):
        for group in self._groups:
            if (group / "freezer.state").exists():
                (group / "freezer.state").write_text("FROZEN" if frozen else "THAWED")
                return
        for group in self._groups:
            if (group / "cgroup.freeze").exists():
                (group / "cgroup.freeze").write_text("1" if frozen else "0")
                return
        raise AssertionError("this kernel has no freezer")

    # ---- network

    def cut(self):
        """Frames from and to it are dropped, without a word to anybody."""
        call("nft", "add", "element", "bridge", "machines", "cut", f"{{ v{self.number} }}")

    def cut_towards(self, other):
        """Only what it sends to the other."""
        call("nft", "add", "element", "bridge", "machines", "pair", f"{{ v{self.number} . v{other.number} }}")

    def heal(self):
        subprocess.run(["nft", "delete", "element", "bridge", "machines", "cut", f"{{ v{self.number} }}"], stderr=subprocess.DEVNULL)
        call("nft", "flush", "set", "bridge", "machines", "pair")

    def journal(self, unit="flotilla", lines=30):
        return self.run("journalctl", "-u", unit, "-n", lines, "--no-pager", check=False) if self.running else "(off)"


_FILTER = """
table bridge machines {
  set cut { type ifname; }
  set pair { type ifname . ifname; }
  chain forward { type filter hook forward priority 0; iifname @cut drop; oifname @cut drop; iifname . oifname @pair drop; }
  chain input { type filter hook input priority 0; iifname @cut drop; }
  chain output { type filter hook output priority 0; oifname @cut drop; }
}
"""


class Machines:
    def __init__(self, count, work):
        self._network(count)
        self._all = [Machine(i + 1, work) for i in range(count)]

    def __getitem__(self, index):
        return self._all[index]

    def __len__(self):
        return len(self._all)

    @staticmethod
    def _network(count):
        call("ip", "link", "set", "lo", "up")
        call("ip", "link", "add", "bridge", "type", "bridge", "forward_delay", "0")
        call("ip", "address", "add", f"{NETWORK}.254/24", "dev", "bridge")
        call("ip", "link", "set", "bridge", "up")
        call("nft", "-f", "-", input=_FILTER)
        for i in range(1, count + 1):
            call("ip", "netns", "add", f"m{i}")
            call("ip", "link", "add", f"v{i}", "type", "veth", "peer", "name", "eth0", "netns", f"m{i}")
            call("ip", "link", "set", f"v{i}", "master", "bridge", "up")
            call("ip", "-n", f"m{i}", "link", "set", "lo", "up")
            call("ip", "-n", f"m{i}", "address", "add", f"{NETWORK}.{i}/24", "dev", "eth0")
            call("ip", "-n", f"m{i}", "link", "set", "eth0", "up")
