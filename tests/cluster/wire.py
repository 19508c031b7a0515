"""Bytes that generated code does not write: damaged batches, checksums, compressed frames."""


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def sized(field, payload):
    """A field of bytes, text or a message."""
    return varint(field << 3 | 2) + varint(len(payload)) + payload


def number(field, value):
    return varint(field << 3) + varint(value)


def fixed32(field, value):
    return varint(field << 3 | 5) + value.to_bytes(4, "little")


def produce_request(topic, records, partition=0, batch_fields=b"", content_field=15):
    """A serialized ProduceRequest of one item whose batch has `records` as the bytes of its content."""
    batch = batch_fields + sized(content_field, records)
    item = number(1, partition) + sized(2, batch)
    return sized(1, sized(1, topic.encode())) + sized(2, item)


def _crc32c_table():
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


_TABLE = _crc32c_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


# A Zstandard frame (RFC 8878) without checksum and content size: magic, descriptor, window of 128 KiB, blocks.
_ZSTD_HEADER = bytes([0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x38])
_ZSTD_BLOCK_MAX = 128 * 1024
_RAW, _RUN = 0, 1


def _zstd_block(kind, size, content, last):
    return (size << 3 | kind << 1 | last).to_bytes(3, "little") + content


def zstd_frame(data):
    """Stores the data in blocks that are not compressed."""
    pieces = [data[i : i + _ZSTD_BLOCK_MAX] for i in range(0, len(data), _ZSTD_BLOCK_MAX)] or [b""]
    return _ZSTD_HEADER + b"".join(
        _zstd_block(_RAW, len(piece), piece, i == len(pieces) - 1) for i, piece in enumerate(pieces)
    )


def zstd_bomb(megabytes):
    """So many megabytes of zeros in four bytes for each 128 KiB."""
    count = megabytes * 8
    return _ZSTD_HEADER + b"".join(_zstd_block(_RUN, _ZSTD_BLOCK_MAX, b"\0", i == count - 1) for i in range(count))
