#!/usr/bin/python3
"""Writes one record and reads it back: all that a client needs is generated code. ./hello.py [host:port] [topic]"""
import sys

import grpc
from flotilla.v1 import common_pb2, consume_pb2, consume_pb2_grpc, produce_pb2, produce_pb2_grpc

address, topic = (sys.argv[1:] + ["127.0.0.1:9650", "logs"][len(sys.argv) - 1 :])[:2]
channel = grpc.insecure_channel(address)

item = produce_pb2.ProduceItem(partition=0, batch={"records": {"records": [{"key": b"greeting", "value": b"hello"}]}})
request = produce_pb2.ProduceRequest(topic={"name": topic}, items=[item])
result = produce_pb2_grpc.ProduceServiceStub(channel).Produce(request, timeout=10).results[0]
if result.HasField("error"):
    sys.exit(result.error.message)
offset = result.placements[0].base_offset
print(f"wrote offset {offset} of partition 0")

place = consume_pb2.FetchPartition(topic={"name": topic}, partition=0, start=common_pb2.StartPosition(offset=offset))
request = consume_pb2.FetchRequest(partitions=[place])
fetched = consume_pb2_grpc.ConsumeServiceStub(channel).Fetch(request, timeout=10).partitions[0]
if fetched.HasField("error"):
    sys.exit(fetched.error.message)
for batch in fetched.batches:
    for i, record in enumerate(batch.records.records):
        print(f"read offset {batch.base_offset + i}: {record.key.decode()} = {record.value.decode()}")
