"""Where a record with a key goes: the partitioner of records.proto, which is that of Kafka."""


def murmur2(data):
    """The 32-bit MurmurHash2 with seed 0x9747b28c, unsigned."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = 0x9747B28C ^ len(data)
    whole = len(data) // 4 * 4
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    if whole < len(data):
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


def partition_of(key, partition_count):
    return (murmur2(key) & 0x7FFFFFFF) % partition_count
