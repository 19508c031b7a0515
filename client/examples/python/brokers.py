"""Which broker to talk to, and what its errors mean. Shared by the examples; copy it together with them.

Any node serves any call, so a client needs the address of one node that is up: it takes the first of its list and goes
on to the next one whenever a call ends in a way that leaves open what happened.
"""
import random
import sys
import threading
import time
import queue

import grpc

try:
    from flotilla.v1 import cluster_pb2, cluster_pb2_grpc, errors_pb2
except ImportError:
    sys.exit("no generated code: run ./generate.sh OUT here, then export PYTHONPATH=OUT")

# After so much silence of a stream its broker is asked whether it is there, and has so long to answer. One that is
# frozen does not, while its connection looks well.
QUIET_S = 2
# After so much silence of a stream it counts as dead, whatever its broker says: there is a heartbeat every 10 seconds.
SILENCE_S = 30

# What gRPC says when there is no broker's word: the connection broke, or time ran out. It may have been done.
_UNCLEAR = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.CANCELLED,
)


def error_of(failure):
    """The broker's Error of a failed call; one made up for a failure that is not the broker's."""
    for key, value in failure.trailing_metadata() or ():
        if key == "flotilla-error-bin":
            return errors_pb2.Error.FromString(value)
    unclear = failure.code() in _UNCLEAR
    return errors_pb2.Error(
        code=failure.code().value[0],
        message=failure.details() or str(failure.code()),
        retry=errors_pb2.RETRY_IF_IDEMPOTENT if unclear else errors_pb2.RETRY_NEVER,
    )


def may_repeat(error):
    """Whether to send the same again. For calls that do no harm twice, and these examples make no other."""
    return error.retry != errors_pb2.RETRY_NEVER


def describe(error):
    name = errors_pb2.ErrorReason.Name(error.reason) if error.reason else "no reason"
    return f"{name.removeprefix('ERROR_REASON_')}: {error.message}"


class GaveUp(Exception):
    """An error that repeating does not cure, or too long without any success."""


class StreamFailed(Exception):
    """A stream ended with the Error in `error`."""

    def __init__(self, error):
        super().__init__(describe(error))
        self.error = error


class Brokers:
    """The addresses, one of them in use.

    with Brokers("127.0.0.1:9650,127.0.0.1:9660") as brokers:
        answer = brokers.call(lambda channel: AdminServiceStub(channel).GetTopic, request)

    Close it before the program ends, which may hang in gRPC otherwise.
    """

    def __init__(self, addresses, patience_s=120):
        self._addresses = [a.strip() for a in addresses.split(",") if a.strip()]
        if not self._addresses:
            sys.exit("no broker: give --brokers host:port[,host:port...]")
        self._patience_s = patience_s
        self._at = 0
        self._failures = 0
        self._succeeded_at = time.monotonic()
        self.channel = self._connect()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.channel.close()

    @property
    def address(self):
        return self._addresses[self._at]

    def succeeded(self):
        self._failures = 0
        self._succeeded_at = time.monotonic()

    def failed(self, error):
        """Goes on to the next broker after a while. GaveUp: there is no point, or no end."""
        if not may_repeat(error):
            raise GaveUp(describe(error))
        if time.monotonic() - self._succeeded_at > self._patience_s:
            raise GaveUp(f"nothing worked for {self._patience_s} s; the last error was {describe(error)}")
        # A little random, lest all clients of a broker that failed come back in the same moment.
        wait_s = max(error.retry_after_ms / 1000, min(2.0, 0.05 * 2**self._failures) * random.uniform(0.5, 1))
        self._failures += 1
        print(f"{self.address}: {describe(error)}; next attempt in {wait_s:.2f} s", file=sys.stderr, flush=True)
        self.channel.close()
        time.sleep(wait_s)
        self._at = (self._at + 1) % len(self._addresses)
        self.channel = self._connect()

    def call(self, method_of, request, timeout_s=10):
        """A unary call that may be repeated: it only reads, or has a request_id."""
        while True:
            try:
                answer = method_of(self.channel)(request, timeout=timeout_s)
                self.succeeded()
                return answer
            except grpc.RpcError as failure:
                self.failed(error_of(failure))

    def ask(self):
        """None: the broker in use is there. Else the error. One that lives answers this by itself, however busy."""
        try:
            cluster_pb2_grpc.ClusterServiceStub(self.channel).GetServerInfo(
                cluster_pb2.GetServerInfoRequest(), timeout=QUIET_S
            )
        except grpc.RpcError as failure:
            return error_of(failure)
        return None

    def _connect(self):
        # Channels of one process share connections by default, and so the wait of up to two minutes after one that
        # failed. A broker that is back should be used at once.
        return grpc.insecure_channel(
            self.address,
            options=[
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.max_reconnect_backoff_ms", 1000),
                ("grpc.enable_http_proxy", 0),
                ("grpc.max_receive_message_length", 16 << 20),
            ],
        )


class Answers:
    """What a stream of the broker in use brings.

    Read by a thread of its own, because reading alone has no time limit.
    """

    def __init__(self, brokers, call):
        self._brokers = brokers
        self._call = call
        self._queue = queue.Queue(maxsize=16)  # a slow reader holds up the broker, not our memory
        self._closed = False
        self._heard_at = self._asked_at = time.monotonic()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def get(self, timeout_s):
        """The next message; None: none came in time. EOFError: the stream ended with OK. StreamFailed: it did not.

        Takes up to QUIET_S longer when nothing has come for long.
        """
        try:
            message = self._queue.get(timeout=max(timeout_s, 0.001))
        except queue.Empty:
            self._check_silence(time.monotonic())
            return None
        if isinstance(message, Exception):
            raise message
        return message

    def _check_silence(self, now):
        if now - self._heard_at > SILENCE_S:
            self._call.cancel()  # comes back as CANCELLED
        elif now - max(self._heard_at, self._asked_at) > QUIET_S:
            self._asked_at = now
            error = self._brokers.ask()
            if error is not None:
                raise StreamFailed(error)

    def close(self):
        """Ends the stream and waits until nothing of it is left.

        Waiting is for the end of the program: the interpreter stops its daemon threads wherever they are, and deletes
        what remains. gRPC's call takes its lock to be deleted, and would wait for a stopped thread that holds it.
        """
        self._closed = True
        self._call.cancel()
        self._thread.join()
        self._call = None

    def _read(self):
        try:
            for message in self._call:
                self._heard_at = time.monotonic()
                self._put(message)
            self._put(EOFError())
        except grpc.RpcError as failure:
            # It is the call itself, and its traceback leads back to it: a cycle would outlive close().
            failure.__traceback__ = None
            self._put(StreamFailed(error_of(failure)))

    def _put(self, message):
        while not self._closed:
            try:
                return self._queue.put(message, timeout=0.1)
            except queue.Full:
                self._heard_at = time.monotonic()  # it is we who are slow
