"""Bytes that mean nothing, at every port; and a peer that says what cannot be read. No node may end of it."""
import os
import random
import socket
import struct
import sys

import grpc

import http2
from abuse import AbuseTest, metrics

sys.path.append(os.environ["FLOTILLA_PEER_STUBS"])  # the protos of nodes, which clients do not get
from flotilla.internal.v1 import peer_pb2, raft_pb2
from scene import main

SEED = 20

GREETINGS = (
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),  # TLS
    b"\x00" * 4096,
    b"\xff" * 4096,
    http2.PREFACE * 3,
    http2.PREFACE + b"\xff" * 9,  # a frame of 16 MiB of a kind that does not exist
    http2.PREFACE + http2.frame(http2.SETTINGS, 0, 0, struct.pack(">HI", 4, 0xFFFF_FFFF)),
    http2.PREFACE + http2.frame(http2.SETTINGS, 0, 0, struct.pack(">HI", 1, 1) * 2000),
    http2.PREFACE + http2.frame(http2.WINDOW_UPDATE, 0, 0, b"\x00" * 4),
    http2.PREFACE + http2.frame(http2.SETTINGS, 0, 0) + http2.frame(http2.DATA, 0, 0, b"x" * 100),
    http2.PREFACE + http2.frame(http2.SETTINGS, 0, 0) + http2.frame(http2.HEADERS, http2.END_HEADERS, 1, b"\xff" * 200),
    http2.PREFACE + http2.frame(http2.SETTINGS, 0, 0) + http2.frame(http2.GOAWAY, 0, 0, b"\x00" * 8),
    http2.PREFACE + http2.frame(http2.SETTINGS, 0, 0) + http2.frame(http2.RST_STREAM, 0, 7, b"\x00" * 4),
)
PEER_METHODS = (
    "PeerService/OpenChannel",
    "PeerService/Handshake",
    "ForwardService/ForwardStream",
    "ForwardService/ForwardCall",
    "MembershipService/Bootstrap",
    "MembershipService/Join",
    "MembershipService/Report",
    "MembershipService/DescribeGroups",
    "MembershipService/ReserveProducerIds",
)
CLIENT_METHODS = (
    "ProduceService/InitProducer",
    "ProduceService/Produce",
    "ProduceService/ProduceStream",
    "ConsumeService/Fetch",
    "ConsumeService/Subscribe",
    "ConsumeService/ListOffsets",
    "ConsumeService/GrantCredit",
    "AdminService/CreateTopic",
    "AdminService/ListTopics",
    "ClusterService/GetMetadata",
    "ClusterService/WatchMetadata",
    "ClusterService/TransferLeadership",
)


def raw_call(channel, method, requests, timeout_s=5):
    """All that a call with these bytes says: its code, when it has ended or its time is over."""
    call = channel.stream_stream(method)(iter(requests), timeout=timeout_s)
    try:
        for _ in call:
            pass
        return grpc.StatusCode.OK
    except grpc.RpcError as failure:
        return failure.code()


class GarbageTest(AbuseTest):
    NODES = 3
    REPLICAS = 3

    def setUp(self):
        super().setUp()
        self.random = random.Random(SEED)

    def noise(self, most=2000):
        return self.random.randbytes(self.random.randrange(1, most))

    def damaged(self, data):
        data = bytearray(data)
        for _ in range(self.random.randrange(1, 6)):
            place = self.random.randrange(len(data))
            kind = self.random.random()
            if kind < 0.6:
                data[place] ^= 1 << self.random.randrange(8)
            elif kind < 0.8:
                del data[place : place + self.random.randrange(1, 8)]
            else:
                data[place:place] = self.noise(8)
            if not data:
                return b""
        return bytes(data)

    def assert_all_is_well(self):
        self.assert_honest_was_served(longest_s=5)
        self.assert_calm_again()
        self.cluster.check_alive()
        self.cluster.wait_until_healthy()

    def test_noise_at_every_port_of_every_node(self):
        for node in self.nodes:
            for port in (node.client_port, node.peer_port, node.http_port):
                greetings = [*GREETINGS, *(self.noise() for _ in range(20)), *(http2.PREFACE + self.noise() for _ in range(20))]
                for greeting in greetings:
                    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
                    try:
                        connection.sendall(greeting)
                    except OSError:
                        pass
                    self.keep(connection)
        for node in self.nodes:
            self.assertGreater(len(metrics(node)), 0)
        self.assert_all_is_well()

    def test_calls_of_clients_with_bytes_that_are_none(self):
        for method in CLIENT_METHODS:
            requests = [self.noise() for _ in range(20)]
            for request in requests:
                code = raw_call(self.node.client.channel, f"/flotilla.v1.{method}", [request], timeout_s=1)
                self.assertNotEqual(code, grpc.StatusCode.INTERNAL, f"{method} {request.hex()}")
        self.assert_all_is_well()

    def test_calls_of_peers_with_bytes_that_are_none(self):
        with self.peer_channel(self.node) as channel:
            for method in PEER_METHODS:
                for _ in range(20):
                    raw_call(channel, f"/flotilla.internal.v1.{method}", [self.noise()], timeout_s=1)
        self.assert_all_is_well()

    # ---- A peer that is let in

    def peer_channel(self, node):
        return grpc.insecure_channel(node.peer_address, options=[("grpc.use_local_subchannel_pool", 1)])

    def identity_of(self, node):
        with self.peer_channel(node) as channel:
            request = peer_pb2.HandshakeRequest()
            request.caller.cluster_name = "test"
            request.caller.protocol_version_max = 1
            handshake = channel.unary_unary(
                "/flotilla.internal.v1.PeerService/Handshake",
                request_serializer=peer_pb2.HandshakeRequest.SerializeToString,
                response_deserializer=peer_pb2.HandshakeResponse.FromString,
            )
            return handshake(request, timeout=10).callee

    def messages(self, sender, receiver):
        """One of each kind, of groups that nobody has: what damage leaves readable hurts nobody."""
        for kind in raft_pb2.RaftMessage.DESCRIPTOR.oneofs_by_name["body"].fields:
            bundle = raft_pb2.PeerMessage(from_node=sender, to_node=receiver)
            message = bundle.messages.add(group=1_000_000_007, term=3)
            message.from_replica.node, message.to_replica.node = sender, receiver
            getattr(message, kind.name).SetInParent()
            yield bundle
        chunk = raft_pb2.PeerMessage(from_node=sender, to_node=receiver).chunks.add(group=1_000_000_007)
        bundle = raft_pb2.PeerMessage(from_node=sender, to_node=receiver, chunks=[chunk])
        yield bundle
        for part in ("heartbeat", "heartbeat_reply"):
            bundle = raft_pb2.PeerMessage(from_node=sender, to_node=receiver)
            getattr(bundle, part).SetInParent()
            yield bundle

    def test_a_peer_whose_messages_are_damaged(self):
        target, other = self.identity_of(self.nodes[0]), self.identity_of(self.nodes[1])
        hello = peer_pb2.OpenChannelRequest()
        hello.hello.channel = peer_pb2.CHANNEL_DATA
        hello.hello.handshake.caller.CopyFrom(other)
        hello.hello.handshake.expected_node_id = target.node_id
        greeting = hello.SerializeToString()
        good = [
            peer_pb2.OpenChannelRequest(message=message).SerializeToString()
            for message in self.messages(other.node_id, target.node_id)
        ]
        codes = {}
        with self.peer_channel(self.nodes[0]) as channel:
            for _ in range(300):
                message = self.damaged(self.random.choice(good))
                code = raw_call(channel, "/flotilla.internal.v1.PeerService/OpenChannel", [greeting, message], timeout_s=5)
                codes[code.name] = codes.get(code.name, 0) + 1
        self.told(str(codes))
        self.assertGreater(codes.get("INVALID_ARGUMENT", 0), 100, "most of them cannot be read, and are told so")
        self.assert_all_is_well()

    def test_a_peer_of_another_cluster_and_one_that_says_no_hello(self):
        other = self.identity_of(self.nodes[1])
        stranger = peer_pb2.OpenChannelRequest()
        stranger.hello.channel = peer_pb2.CHANNEL_CONTROL
        stranger.hello.handshake.caller.CopyFrom(other)
        stranger.hello.handshake.caller.cluster_id = b"x" * 16
        message = next(self.messages(other.node_id, 1))
        first = peer_pb2.OpenChannelRequest(message=message).SerializeToString()
        with self.peer_channel(self.nodes[0]) as channel:
            method = "/flotilla.internal.v1.PeerService/OpenChannel"
            self.assertEqual(raw_call(channel, method, [stranger.SerializeToString()]), grpc.StatusCode.FAILED_PRECONDITION)
            self.assertEqual(raw_call(channel, method, [first]), grpc.StatusCode.FAILED_PRECONDITION)
        self.assert_all_is_well()


if __name__ == "__main__":
    main()
