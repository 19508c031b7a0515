"""Requests that do not come to their end: halves, trickles, lengths that lie, headers without end."""
import struct
import time

import http2
from abuse import AbuseTest, mib, wait_until
from scene import main

PRODUCE = "/flotilla.v1.ProduceService/Produce"
STREAM = "/flotilla.v1.ProduceService/ProduceStream"
SUBSCRIBE = "/flotilla.v1.ConsumeService/Subscribe"
UPLOAD_S = 30  # how long a request may take
# What gRPC may hold of requests that are not complete (kIncompleteBytesMax), and room for what it cannot give back at once.
INCOMPLETE_BYTES_MAX = 256 << 20
SLACK_BYTES = 160 << 20
PART = http2.message(8 << 20)[: 7 << 20]
FEW_BYTES = 64 << 10
STREAM_S = UPLOAD_S + UPLOAD_S / 6 + 5  # a half on a stream is looked for now and then, and noticed when it has been there for so long


class UploadsTest(AbuseTest):
    def send_halves(self, method, count):
        """Until the node does not take more: calls with 7 of 8 MiB."""
        calls, sent = [], 0  # those with more than a few of its bytes
        for connection in self.attack(count):
            stream = connection.begin_call(method)
            before = sent
            try:
                sent += connection.send_data(stream, PART, timeout_s=0.3)
            except OSError:
                pass  # it was cut off
            if sent - before > FEW_BYTES:
                calls.append((connection, stream))
            self.heaviest = max(self.heaviest, self.assert_lighter_than(INCOMPLETE_BYTES_MAX + SLACK_BYTES, f"after {mib(sent)}"))
        return calls, sent

    def setUp(self):
        super().setUp()
        self.heaviest = 0
        self.broken_off = self.metric("flotilla_connections_broken_off_total", port="client")

    def assert_broken_off(self, at_least):
        """By the node, which knows who fills its memory, and not by gRPC, which ends anybody's streams."""
        # The other side hears of it before it is counted.
        wait_until(
            f"{at_least} are broken off",
            lambda: self.metric("flotilla_connections_broken_off_total", port="client") - self.broken_off >= at_least,
            timeout_s=5,
        )

    def test_half_requests_are_cut_off_and_cost_a_bounded_memory(self):
        began = time.monotonic()
        calls, sent = self.send_halves(PRODUCE, 120)
        self.assertGreater(sent, INCOMPLETE_BYTES_MAX)
        self.told(f"{mib(sent)} sent, the node weighed {mib(self.heaviest)}")
        trickles = [(connection, connection.begin_call(PRODUCE)) for connection in self.attack(50)]
        whole = http2.message(1 << 20)

        def all_over():
            for at, (connection, stream) in enumerate(trickles):
                if not connection.is_over(stream):
                    connection.send_data(stream, whole[at : at + 1])
            for connection, _ in calls:
                connection.read()
            time.sleep(0.1)
            return all(connection.is_over(stream) for connection, stream in [*calls, *trickles])

        wait_until("all of them are cut off", all_over, UPLOAD_S + 10)
        self.assert_broken_off((sent - INCOMPLETE_BYTES_MAX) // len(PART))
        self.told(f"the last was cut off after {time.monotonic() - began:.0f} s")
        self.assertGreaterEqual(self.metric("flotilla_throttled_total", reason="DEADLINE_EXCEEDED"), len(trickles))
        self.assert_honest_was_served(longest_s=5)
        self.assert_calm_again()

    def test_streams_with_half_a_message_are_cut_off_and_cost_a_bounded_memory(self):
        (silent,) = self.attack(1)
        silent_stream = silent.begin_call(STREAM)
        began = time.monotonic()
        calls, sent = self.send_halves(STREAM, 120)
        self.assertGreater(sent, INCOMPLETE_BYTES_MAX)
        self.told(f"{mib(sent)} sent, the node weighed {mib(self.heaviest)}")

        def all_over():
            for connection, _ in calls:
                connection.read()
            silent.read()
            return all(connection.is_over(stream) for connection, stream in calls)

        wait_until("all of them are cut off", all_over, STREAM_S)
        self.assert_broken_off((sent - INCOMPLETE_BYTES_MAX) // len(PART))
        self.told(f"the last was cut off after {time.monotonic() - began:.0f} s")
        self.assertFalse(silent.is_over(silent_stream), "silence is allowed")
        self.assert_honest_was_served(longest_s=5)
        self.assert_calm_again()

    def test_many_half_messages_on_one_connection(self):
        (connection,) = self.attack(1)
        calls = 0
        try:
            for calls in range(1, 101):
                stream = connection.begin_call(STREAM)
                connection.send_data(stream, PART, timeout_s=0.2)
                self.assert_lighter_than(INCOMPLETE_BYTES_MAX + SLACK_BYTES, f"{calls} calls")
        except OSError:
            pass  # the whole connection was cut off
        self.told(f"{calls} calls")
        self.assertLess(calls, 60)
        self.assert_broken_off(1)
        self.assert_honest_was_served(longest_s=5)
        self.assert_calm_again()

    def test_a_message_that_never_ends(self):
        """gRPC reads it whole before it looks at its length."""
        prefix, piece = b"\x00" + struct.pack(">I", 0xFFFF_FFFF), b"x" * (1 << 20)
        for method in (PRODUCE, STREAM, SUBSCRIBE):
            (connection,) = self.attack(1)
            stream, sent = connection.begin_call(method), 0
            connection.send_data(stream, prefix)
            try:
                while sent < 2 * INCOMPLETE_BYTES_MAX and not connection.is_over(stream):
                    taken = connection.send_data(stream, piece, timeout_s=2)
                    sent += taken
                    self.assert_lighter_than(INCOMPLETE_BYTES_MAX + SLACK_BYTES, f"{method} after {mib(sent)}")
                    if taken == 0:
                        break
            except OSError:
                pass
            self.assertLess(sent, INCOMPLETE_BYTES_MAX + SLACK_BYTES, method)
            self.told(f"{method}: {mib(sent)}")
            connection.close()
        self.assert_broken_off(3)
        self.assert_honest_was_served(longest_s=5)
        self.assert_calm_again()

    def test_headers_without_an_end(self):
        piece = http2.literal("x-a", "y" * 100) * 100
        sent = 0
        for connection in self.attack(20):
            try:
                connection.send(http2.frame(http2.HEADERS, 0, 1, http2.call_headers(PRODUCE)))
                while not connection.closed and connection.goaway is None and sent < 200 << 20:
                    connection.send(http2.frame(http2.CONTINUATION, 0, 1, piece), timeout_s=1)
                    sent += len(piece)
                    connection.read()
            except (OSError, TimeoutError):
                pass
        self.told(f"{mib(sent)} of headers sent")
        self.assert_lighter_than(128 << 20, "headers")
        self.assert_honest_was_served(longest_s=2)
        self.assert_calm_again()


if __name__ == "__main__":
    main()
