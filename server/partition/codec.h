// Compression of a batch's records. The broker never compresses: it decompresses to check what a producer
// sent, and for readers that accept no codec.
//
//   Decompressor decompressor;                                          // one per thread
//   std::string out(uncompressed_bytes, '\0');
//   Status s = decompressor.Decompress(Codec::kZstd, compressed, out.data(), out.size());
//
// Memory is bounded by what the caller gives: a bomb ends at the first byte that does not fit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "storage/base/status.h"

namespace flotilla::partition {

// Stored in entries, with the numbers of flotilla.v1.Codec: never reused.
enum class Codec : uint8_t { kNone = 1, kLz4 = 2, kZstd = 3 };

bool IsCodec(uint32_t number);
const char* CodecName(Codec codec);
// UNKNOWN_CODEC (codec) for a number that is none.
Result<Codec> CodecOf(uint32_t number);

// A set of codecs, such as those that a reader accepts. kNone is in every one.
class CodecSet {
 public:
  CodecSet() = default;
  CodecSet& Add(Codec codec) {
    bits_ |= Bit(codec);
    return *this;
  }
  static CodecSet All() { return CodecSet().Add(Codec::kLz4).Add(Codec::kZstd); }
  bool Has(Codec codec) const { return codec == Codec::kNone || (bits_ & Bit(codec)) != 0; }

 private:
  static uint32_t Bit(Codec codec) { return uint32_t{1} << static_cast<uint32_t>(codec); }
  uint32_t bits_ = 0;
};

// Keeps the codecs' working memory between calls (some 200 KiB when used). Not thread-safe.
class Decompressor {
 public:
  Decompressor();
  ~Decompressor();

  // Fills [out, out + bytes) with what `input`, one frame, decompresses to. CORRUPT_RECORDS: it is no frame,
  // it is damaged, it needs a dictionary, something follows it, or its content is not of `bytes` bytes.
  // `codec` is not kNone.
  Status Decompress(Codec codec, std::string_view input, char* out, size_t bytes);

 private:
  struct Contexts;
  std::unique_ptr<Contexts> contexts_;
};

}  // namespace flotilla::partition
