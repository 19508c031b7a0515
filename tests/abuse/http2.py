"""HTTP/2 by hand, for clients that do what no library would: stop in the middle, say nothing, lie.

    connection = Connection(address)                 # preface and settings exchanged
    stream = connection.begin_call("/flotilla.v1.ProduceService/Produce")
    connection.send_data(stream, message(8 << 20)[: 4 << 20])      # half a request, and no more
    connection.read_for(0.1)                          # takes what is there; windows grow, pings are answered
"""
import select  # its poll(): descriptors above 1023 are nothing that select() knows
import socket
import struct
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 0x1, 0x4, 0x1
_INITIAL_WINDOW = 65535
_FRAME_BYTES = 16384


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    """A header field that touches no table (RFC 7541, 6.2.2), without Huffman."""
    name, value = name.encode(), value.encode()
    assert len(name) < 127 and len(value) < 127
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def call_headers(path, authority="localhost"):
    fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", authority)]
    fields += [("content-type", "application/grpc"), ("te", "trailers")]
    return b"".join(literal(name, value) for name, value in fields)


def message(length, fill=b"x"):
    """A gRPC message of so many bytes, with its prefix."""
    return b"\x00" + struct.pack(">I", length) + fill * length


def to_address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


def _wait(sock, events, seconds):
    poll = select.poll()
    poll.register(sock, events)
    return poll.poll(seconds * 1000)


class Connection:
    """One thread. Everything may raise OSError: the other side has closed."""

    def __init__(self, address, initial_window=None, timeout_s=30):
        self.socket = socket.create_connection(to_address(address), timeout=timeout_s)
        self._buffer = b""
        self._next_stream = 1
        self._window = _INITIAL_WINDOW
        self._stream_windows = {}
        self._server_initial_window = _INITIAL_WINDOW
        self._sending = False
        self._answers = b""  # to what came while something else was sent: frames do not stand in one another
        self.settings_seen = False
        self.goaway = None  # the text
        self.closed = False
        self.resets = {}  # stream -> code
        self.ended = set()
        self.headers_seen = set()
        self.data_bytes = 0
        settings = b"" if initial_window is None else struct.pack(">HI", 4, initial_window)
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, settings))
        self.socket.setblocking(False)

    def fileno(self):
        return self.socket.fileno()

    def close(self):
        self.socket.close()

    def wait_for_settings(self, seconds=30):
        self.read_for(seconds, until=lambda: self.settings_seen)
        assert self.settings_seen, f"no settings; closed: {self.closed}"

    # ---- Sending

    def send(self, data, timeout_s=30):
        deadline = time.monotonic() + timeout_s
        view, self._answers = memoryview(self._answers + data), b""
        self._sending = True
        while view:
            try:
                view = view[self.socket.send(view) :]
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError("the other side does not read") from None
                _wait(self.socket, select.POLLOUT, 0.1)
                self.read()
            if not view and self._answers:
                view, self._answers = memoryview(self._answers), b""
        self._sending = False

    def begin_call(self, path, end=False):
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        self._stream_windows[stream] = self._server_initial_window
        self.send(frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, call_headers(path)))
        return stream

    def window_of(self, stream):
        return min(self._window, self._stream_windows.get(stream, 0))

    def send_data(self, stream, data, end=False, timeout_s=30):
        """As fast as the windows allow. Bytes sent: fewer than all when they stay shut for so long, or the stream ends."""
        sent = 0
        deadline = time.monotonic() + timeout_s
        while sent < len(data) and not self.is_over(stream):
            self.read()
            room = min(self.window_of(stream), _FRAME_BYTES, len(data) - sent)
            if room <= 0:
                if time.monotonic() > deadline:
                    break
                self.read_for(0.02)
                continue
            last = end and sent + room == len(data)
            self.send(frame(DATA, END_STREAM if last else 0, stream, data[sent : sent + room]))
            self._window -= room
            self._stream_windows[stream] -= room
            sent += room
        return sent

    def is_over(self, stream):
        return self.closed or self.goaway is not None or stream in self.resets or stream in self.ended

    # ---- Receiving

    def read_for(self, seconds, until=lambda: False):
        deadline = time.monotonic() + seconds
        while not self.closed and not until():
            left = deadline - time.monotonic()
            if left <= 0:
                return
            if _wait(self.socket, select.POLLIN, left):
                self.read()

    def read(self):
        """Takes what has come, without waiting."""
        while not self.closed:
            try:
                received = self.socket.recv(1 << 16)
            except BlockingIOError:
                break
            except OSError:
                self.closed = True
                break
            if not received:
                self.closed = True
            self._buffer += received
        while len(self._buffer) >= 9:
            length = int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < 9 + length:
                break
            kind, flags = self._buffer[3], self._buffer[4]
            stream = int.from_bytes(self._buffer[5:9], "big") & 0x7FFFFFFF
            payload, self._buffer = self._buffer[9 : 9 + length], self._buffer[9 + length :]
            self._on_frame(kind, flags, stream, payload)

    def _on_frame(self, kind, flags, stream, payload):
        if kind == SETTINGS and not flags & ACK:
            self.settings_seen = True
            for at in range(0, len(payload), 6):
                name, value = struct.unpack_from(">HI", payload, at)
                if name == 4:
                    change = value - self._server_initial_window
                    self._server_initial_window = value
                    for known in self._stream_windows:
                        self._stream_windows[known] += change
            self._answer(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self._answer(frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE:
            more = int.from_bytes(payload, "big") & 0x7FFFFFFF
            if stream == 0:
                self._window += more
            elif stream in self._stream_windows:
                self._stream_windows[stream] += more
        elif kind == GOAWAY:
            self.goaway = payload[8:].decode(errors="replace")
        elif kind == RST_STREAM:
            self.resets[stream] = int.from_bytes(payload, "big")
        elif kind == HEADERS:
            self.headers_seen.add(stream)
        elif kind == DATA:
            self.data_bytes += len(payload)
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            self.ended.add(stream)

    def _answer(self, data):
        if self._sending:
            self._answers += data
            return
        try:
            self._answers = data[self.socket.send(data) :]
        except OSError:
            pass  # whoever does not read gets no acknowledgement
