#!/usr/bin/python3
"""Prints the address of the node that leads a partition: ./leaders.py host:port topic partition"""
import sys
import time

import grpc
from flotilla.v1 import cluster_pb2, cluster_pb2_grpc

address, topic, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
stub = cluster_pb2_grpc.ClusterServiceStub(grpc.insecure_channel(address))
for _ in range(100):
    metadata = stub.GetMetadata(cluster_pb2.GetMetadataRequest(topics=[{"name": topic}]), timeout=5)
    leader = metadata.topics[0].partitions[number].leader_node_id
    if leader != 0:  # 0: an election is on
        sys.exit(print(next(node.client_address for node in metadata.nodes if node.node_id == leader)))
    time.sleep(0.1)
sys.exit(f"nobody leads partition {number} of {topic}")
