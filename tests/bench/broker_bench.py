#!/usr/bin/python3
"""What three nodes on this machine do, beside what its disk and loopback could do at best in the same run.

    tests/bench/broker_bench.py                        # everything: about 20 minutes
    tests/bench/broker_bench.py --only batched,alone   # some parts
    tests/bench/broker_bench.py --rounds 1 --seconds 3 # quick

Needs build/release (or --build DIR). Each part gets fresh nodes; each figure is the median of the rounds, and CPU is that of all
nodes. Prints a table as it goes and JSON at the end (--json FILE). Uses loopback and --directory (default: the build directory) alone,
ends nodes by their pids and deletes what they wrote. It reports, and fails on no time.
"""
import argparse
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "support"))

from ports import free_ports

TICKS = os.sysconf("SC_CLK_TCK")


class Nodes:
    """Three nodes and their cluster, for one part."""

    def __init__(self, options, count=3):
        self.options = options
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="broker-bench.", dir=options.directory))
        self.ports = [free_ports(3) for _ in range(count)]
        self.processes = [None] * count
        seeds = ", ".join(f'"127.0.0.1:{peer}"' for _, peer, _ in self.ports)
        for i, (client, peer, http) in enumerate(self.ports):
            (self.directory / f"n{i}.yaml").write_text(
                f"node: {{name: n{i}, data_dir: {self.directory}/d{i}}}\n"
                f"cluster: {{name: bench, seeds: [{seeds}]}}\n"
                f'listen: {{client: "127.0.0.1:{client}", peer: "127.0.0.1:{peer}", http: "127.0.0.1:{http}"}}\n'
            )

    def __enter__(self):
        for i in range(len(self.processes)):
            self.start(i)
        self.cli("cluster", "init", retry=True)
        self.cli("cluster", "health", "--watch", "--exit-when-healthy")
        return self

    def __exit__(self, *_):
        for i in range(len(self.processes)):
            self.kill(i)
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self, i):
        """Returns the seconds until it is ready."""
        log = open(self.directory / f"n{i}.log", "ab")
        size = log.tell()
        began = time.monotonic()
        self.processes[i] = subprocess.Popen(
            [self.options.build / "server/flotillad", "--config", self.directory / f"n{i}.yaml"], stderr=log, stdout=log
        )
        while b"ready status" not in (self.directory / f"n{i}.log").read_bytes()[size:]:
            if self.processes[i].poll() is not None:
                sys.exit(f"node {i} ended: see {self.directory}/n{i}.log")
            time.sleep(0.005)
        return time.monotonic() - began

    def kill(self, i):
        if self.processes[i] is not None:
            self.processes[i].send_signal(signal.SIGKILL)
            self.processes[i].wait()
            self.processes[i] = None

    @property
    def brokers(self):
        return ",".join(f"127.0.0.1:{client}" for client, _, _ in self.ports)

    def command(self, *arguments):
        return [self.options.build / "client/cli/flotilla", "-b", self.brokers, "-o", "json", "--yes", *map(str, arguments)]

    def cli(self, *arguments, retry=False):
        for _ in range(50):
            done = subprocess.run(self.command(*arguments), capture_output=True, text=True)
            if done.returncode == 0:
                return json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip().startswith("{") and "\n" not in done.stdout.strip() else done.stdout
            if not retry:
                break
            time.sleep(0.1)
        sys.exit(f"flotilla {' '.join(map(str, arguments))}: {done.stderr}")

    def perf(self, *arguments):
        return json.loads(subprocess.run(self.command("perf", *arguments), capture_output=True, text=True, check=True).stdout)

    def cpu_seconds(self):
        total = 0
        for process in self.processes:
            if process is not None:
                fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
                total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def resident_mb(self):
        largest = 0
        for process in self.processes:
            if process is not None:
                for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
                    if line.startswith("VmRSS"):
                        largest = max(largest, int(line.split()[1]) / 1000)
        return largest

    def leader(self, topic, partition=0):
        """Which process leads it: an index."""
        found = json.loads(self.cli("partition", "list", topic))["partitions"][partition]
        nodes = {n["node_id"]: n["client_address"] for n in json.loads(self.cli("node", "list"))["nodes"]}
        address = nodes[found["partition"]["leader_node_id"]]
        return next(i for i, ports in enumerate(self.ports) if address.endswith(f":{ports[0]}"))


class LongPolls:
    """Consumers that have read everything and wait for more: each on a connection of its own, one Fetch after the other."""

    def __init__(self, options, addresses, count):
        # The code that the build generates for the tests; only this part needs it, and Debian's gRPC.
        sys.path.insert(0, str(options.build / "tests/python_stubs"))
        import grpc
        from flotilla.v1 import common_pb2, consume_pb2, consume_pb2_grpc

        self.answered = 0
        self._lock = threading.Lock()
        self._ended = False
        self._channels = []
        self._calls = [None] * count
        self._requests = []
        for i in range(count):
            partition = i % len(addresses)
            channel = grpc.insecure_channel(addresses[partition], options=[("grpc.use_local_subchannel_pool", 1)])
            self._channels.append(channel)
            place = consume_pb2.FetchPartition(
                topic={"name": "bench"}, partition=partition, start={"point": common_pb2.START_POINT_LATEST}
            )
            self._requests.append((consume_pb2_grpc.ConsumeServiceStub(channel).Fetch, consume_pb2.FetchRequest(partitions=[place])))

    def __enter__(self):
        for i in range(len(self._calls)):
            self._poll(i)
        return self

    def __exit__(self, *_):
        with self._lock:
            self._ended = True
        for channel in self._channels:
            channel.close()

    def _poll(self, i):
        with self._lock:
            if self._ended:
                return
            fetch, request = self._requests[i]
            self._calls[i] = fetch.future(request, timeout=10)
        self._calls[i].add_done_callback(lambda call: self._done(i, call))

    def _done(self, i, call):
        with self._lock:
            if self._ended:
                return
            if call.code().value[0] != 0 or call.result().partitions[0].HasField("error"):
                print(f"a long poll failed: {call.code()} {call.details()}", file=sys.stderr)
                return
            self.answered += 1
        self._poll(i)


def directory_bytes(directory):
    return sum(path.stat().st_blocks * 512 for path in directory.rglob("*") if path.is_file())


def forget_cached(directory):
    """The kernel gives up the pages of these files, once they are on the disk."""
    for path in directory.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class Bench:
    def __init__(self, options):
        self.options = options
        self.figures = []

    def report(self, part, name, values, unit):
        values = values if isinstance(values, list) else [values]
        figure = {"part": part, "name": name, "median": statistics.median(values), "unit": unit, "rounds": values}
        self.figures.append(figure)
        print(f"{part:<10} {name:<58} {figure['median']:>12,.2f} {unit}", flush=True)

    def rounds(self, run):
        return [run() for _ in range(self.options.rounds)]

    # --- the machine alone

    def part_limits(self):
        path = pathlib.Path(self.options.directory) / f"plain.{os.getpid()}"
        for size, total, name in ((1 << 20, 256 << 20, "append + fdatasync, 1 MiB"), (256 << 10, 128 << 20, "append + fdatasync, 256 KiB")):
            def append():
                data = os.urandom(size)
                file = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
                began = time.monotonic()
                for _ in range(total // size):
                    os.write(file, data)
                    os.fdatasync(file)
                rate = total / 1e6 / (time.monotonic() - began)
                os.close(file)
                path.unlink()
                return rate
            self.report("limits", name, self.rounds(append), "MB/s")

        def small():
            file = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
            times = []
            for _ in range(500):
                began = time.monotonic()
                os.write(file, b"x" * 4096)
                os.fdatasync(file)
                times.append((time.monotonic() - began) * 1e3)
            os.close(file)
            path.unlink()
            return statistics.median(times)
        self.report("limits", "append + fdatasync, 4 KiB, p50", self.rounds(small), "ms")

        def tcp():
            server = socket.create_server(("127.0.0.1", 0))
            total = 1 << 30
            def receive():
                connection, _ = server.accept()
                buffer = bytearray(1 << 20)
                while connection.recv_into(buffer):
                    pass
            receiver = threading.Thread(target=receive)
            receiver.start()
            client = socket.create_connection(server.getsockname())
            data = bytes(64 << 10)
            began = time.monotonic()
            for _ in range(total // len(data)):
                client.sendall(data)
            client.close()
            receiver.join()
            server.close()
            return total / 1e6 / (time.monotonic() - began)
        self.report("limits", "loopback TCP, 64 KiB", self.rounds(tcp), "MB/s")

    # --- writing

    def produce(self, part, name, replicas, partitions, arguments, figure=("mb_per_s", "MB/s"), with_cost=False):
        with Nodes(self.options) as nodes:
            nodes.cli("topic", "create", "bench", "-p", partitions, "-r", replicas)
            nodes.perf("produce", "bench", "--seconds", 1, *arguments)
            results, costs, memory = [], [], []
            for _ in range(self.options.rounds):
                cpu = nodes.cpu_seconds()
                results.append(nodes.perf("produce", "bench", "--seconds", self.options.seconds, *arguments))
                costs.append((nodes.cpu_seconds() - cpu) / (results[-1]["bytes"] / 1e9))
                memory.append(nodes.resident_mb())
            key, unit = figure
            self.report(part, name, [r[key] for r in results], unit)
            for quantile in ("p50", "p99"):
                self.report(part, f"{name}, {quantile}", [r["latency_ms"][quantile] for r in results], "ms")
            if with_cost:
                self.report(part, f"{name}, CPU of all nodes", costs, "s/GB")
                self.report(part, f"{name}, resident memory of the largest node", memory, "MB")
            failed = sum(r["failed"] for r in results)
            if failed:
                self.report(part, f"{name}, FAILED records", failed, "")

    def part_batched(self):
        batched = ["--batch-bytes", "256KiB", "--linger", "5ms", "--buffer", "16MiB"]
        for replicas in (3, 1):
            for partitions in (1, 8):
                self.produce("batched", f"1 KiB, RF {replicas}, {partitions} p", replicas, partitions, ["--size", 1024, *batched],
                             with_cost=replicas == 3)
        self.produce("batched", "100 B, RF 3, 1 p", 3, 1, ["--size", 100, *batched], figure=("records_per_s", "records/s"))

    def part_unbatched(self):
        many = ["--size", 1024, "--no-idempotence", "--in-flight", 256, "--batch-bytes", "1", "--outstanding", 256]
        for partitions in (1, 8):
            self.produce("unbatched", f"1 KiB, RF 3, {partitions} p, 256 outstanding", 3, partitions, many, figure=("records_per_s", "records/s"))

    def part_alone(self):
        for replicas in (3, 1):
            self.produce("alone", f"1 KiB, RF {replicas}, one outstanding", replicas, 1, ["--size", 1024, "--outstanding", 1, "--linger", "0ms"],
                         figure=("records_per_s", "records/s"))

    def part_steady(self):
        self.produce("steady", "1 KiB at 50 MB/s, RF 3", 3, 1, ["--size", 1024, "--rate", 48828, "--linger", "0ms"])

    # --- reading

    def part_read(self):
        with Nodes(self.options) as nodes:
            nodes.cli("topic", "create", "bench", "-p", 1, "-r", 3)
            nodes.perf("produce", "bench", "--size", 1024, "--count", 1_000_000, "--batch-bytes", "256KiB")
            read = self.rounds(lambda: nodes.perf("consume", "bench", "--count", 1_000_000)["mb_per_s"])
            self.report("read", "1 KiB back, one consumer", read, "MB/s")
            ends = self.rounds(lambda: nodes.perf("e2e", "bench", "--rate", 1000, "--linger", "0ms", "--seconds", self.options.seconds))
            for quantile in ("p50", "p99"):
                self.report("read", f"end to end at 1,000/s, {quantile}", [r["latency_ms"][quantile] for r in ends], "ms")

    # --- what breaks

    def gap(self, nodes, topic, arguments, disturb):
        """The longest time, in ms, that a record waited for its acknowledgement while something happened."""
        writer = subprocess.Popen(nodes.command("perf", "produce", topic, *arguments),
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        time.sleep(1.5)
        disturb()
        result = json.loads(writer.communicate()[0])
        if result["failed"]:
            sys.exit(f"{result['failed']} records failed")
        return result["latency_ms"]["max"]

    def part_failover(self):
        with Nodes(self.options) as nodes:
            nodes.cli("topic", "create", "bench", "-p", 1, "-r", 3)
            def gap(disturb):
                return self.gap(nodes, "bench", ["--size", 1024, "--rate", 1000, "--seconds", 4], disturb)
            def kill():
                i = nodes.leader("bench")
                nodes.kill(i)
                self.killed = i
            gaps, restarts = [], []
            for _ in range(self.options.kills):
                gaps.append(gap(kill))
                restarts.append(nodes.start(self.killed))
                nodes.cli("cluster", "health", "--watch", "--exit-when-healthy")
            self.report("failover", f"leader killed, longest wait for an acknowledgement, of {len(gaps)}", gaps, "ms")
            self.report("failover", "the same, the longest of all", max(gaps), "ms")
            self.report("failover", "a killed node is ready again after", restarts, "s")
            moves = []
            for _ in range(max(3, self.options.rounds)):
                leader = nodes.leader("bench")
                moves.append(gap(lambda: nodes.cli("partition", "transfer-leader", "bench", "0")))
                if nodes.leader("bench") == leader:
                    print("the leader did not move", file=sys.stderr)
            self.report("failover", "planned transfer, longest wait for an acknowledgement", moves, "ms")

    # --- many partitions, nothing to do

    def part_many(self):
        with Nodes(self.options) as nodes:
            self.report("many", "resident memory of the largest node, idle", nodes.resident_mb(), "MB")
            began = time.monotonic()
            nodes.cli("topic", "create", "many", "-p", 1000, "-r", 3)
            self.report("many", "1,000 partitions created, all led, after", time.monotonic() - began, "s")
            # Every partition: keys that are spread by hash, many more than partitions.
            nodes.perf("produce", "many", "--size", 100, "--key-size", 16, "--count", 20_000, "--linger", "20ms")
            self.report("many", "and every one written to after", time.monotonic() - began, "s")
            time.sleep(5)
            cpu = nodes.cpu_seconds()
            time.sleep(20)
            self.report("many", "CPU of a node at rest with 1,000 partitions", (nodes.cpu_seconds() - cpu) / 20 / 3 * 100, "% of a core")
            self.report("many", "resident memory of the largest node", nodes.resident_mb(), "MB")

    # --- many partitions, all of them busy

    def part_busy(self):
        # Keys that are spread by hash reach every partition; the same producers write to few partitions and to many.
        spread = ["--size", 1024, "--key-size", 16, "--batch-bytes", "256KiB", "--linger", "50ms", "--buffer", "64MiB"]
        with Nodes(self.options) as nodes:
            nodes.cli("topic", "create", "few", "-p", 10, "-r", 3)
            before = nodes.resident_mb()
            nodes.cli("topic", "create", "many", "-p", 990, "-r", 3)  # a node holds 1,000 replicas
            self.report("busy", "memory of a node per idle partition", (nodes.resident_mb() - before) * 1e3 / 990, "kB")
            rates = {topic: [] for topic in ("few", "many")}
            for topic in rates:
                nodes.perf("produce", topic, *spread, "--seconds", 2)
            for _ in range(self.options.rounds):
                for topic, found in rates.items():
                    found.append(nodes.perf("produce", topic, *spread, "--seconds", self.options.seconds)["mb_per_s"])
            self.report("busy", "1 KiB with keys, RF 3, 10 p", rates["few"], "MB/s")
            self.report("busy", "1 KiB with keys, RF 3, 990 p", rates["many"], "MB/s")
            self.report("busy", "ratio", [many / few for few, many in zip(rates["few"], rates["many"])], "")
            self.report("busy", "memory of the largest node", nodes.resident_mb(), "MB")
            gaps, restarts = [], []
            for i in range(len(nodes.processes)):
                # 5,000 records a second: each partition is written to five times a second.
                write = ["--size", 100, "--key-size", 16, "--rate", 5000, "--linger", "5ms", "--seconds", 8]
                gaps.append(self.gap(nodes, "many", write, lambda: nodes.kill(i)))
                restarts.append(nodes.start(i))
                nodes.cli("cluster", "health", "--watch", "--exit-when-healthy")
            self.report("busy", "a third of 1,000 leaders killed, longest wait of any partition", gaps, "ms")
            self.report("busy", "a killed node is ready again after", restarts, "s")

    def part_idle(self):
        with Nodes(self.options) as nodes:
            nodes.cli("topic", "create", "bench", "-p", 8, "-r", 3)
            nodes.perf("produce", "bench", "--size", 100, "--count", 1000)
            leaders = [nodes.leader("bench", partition) for partition in range(8)]
            addresses = [f"127.0.0.1:{nodes.ports[leader][0]}" for leader in leaders]

            def cpu():
                before, began = nodes.cpu_seconds(), time.monotonic()
                time.sleep(4 * self.options.seconds)
                return (nodes.cpu_seconds() - before) / (time.monotonic() - began) * 100

            self.report("idle", "CPU of all nodes at rest", self.rounds(cpu), "% of a core")
            with LongPolls(self.options, addresses, 100) as polls:
                time.sleep(1)
                answered, began = polls.answered, time.monotonic()
                self.report("idle", "the same with 100 idle consumers on long polls of 500 ms", self.rounds(cpu), "% of a core")
                self.report("idle", "long polls answered", (polls.answered - answered) / (time.monotonic() - began), "/s")

    # --- starting

    def part_start(self):
        # As much as the disk has room for: the log, what flushes and compactions hold twice for a while, and some for others.
        room = shutil.disk_usage(self.options.directory).free // 4
        records = min(int(self.options.start_gib * (1 << 30)), room) // 1024
        with Nodes(self.options, count=1) as nodes:
            nodes.cli("topic", "create", "bench", "-p", 8, "-r", 1)
            nodes.perf("produce", "bench", "--size", 1024, "--count", records, "--batch-bytes", "256KiB")
            self.report("start", "a node alone keeps on its disk", directory_bytes(nodes.directory) / 1e9, "GB")

            def restart(cold):
                nodes.kill(0)
                if cold:
                    forget_cached(nodes.directory)
                return nodes.start(0)

            self.report("start", "killed, it is ready again after", self.rounds(lambda: restart(cold=False)), "s")
            self.report("start", "the same, files not cached", self.rounds(lambda: restart(cold=True)), "s")


PARTS = ["limits", "batched", "unbatched", "alone", "steady", "read", "failover", "many", "busy", "idle", "start"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas: " + ", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="of each round of writing")
    parser.add_argument("--kills", type=int, default=20, help="leaders killed")
    parser.add_argument("--start-gib", type=float, default=8, help="data of the node that is started, GiB; less when the disk is small")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--directory", help="where nodes keep their data; default: the build directory")
    parser.add_argument("--json", type=pathlib.Path, help="also write the figures there")
    options = parser.parse_args()
    options.directory = options.directory or str(options.build)
    unknown = set(options.only.split(",")) - set(PARTS)
    if unknown:
        parser.error(f"unknown part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    bench = Bench(options)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {time.strftime('%FT%TZ', time.gmtime())}", flush=True)
    for part in PARTS:
        if part in options.only.split(","):
            getattr(bench, f"part_{part}")()
    if options.json:
        options.json.write_text(json.dumps(bench.figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
