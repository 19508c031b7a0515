#include "server/partition/codec.h"

#include <lz4frame.h>
#include <zstd.h>

#include <string>

#include "server/errors/refusal.h"

namespace flotilla::partition {
namespace {

Status Corrupt(Codec codec, const std::string& what) {
  return Refuse(Refusal::kCorruptRecords, std::string("compressed records: ") + what + "; send one whole " + CodecName(codec) +
                                              " frame and the size of what is in it");
}

Status WrongSize(Codec codec, const std::string& found, size_t bytes) {
  return Refuse(Refusal::kCorruptRecords, std::string("compressed records: the ") + CodecName(codec) + " frame holds " + found +
                                              " bytes, and uncompressed_bytes says " + std::to_string(bytes))
      .With("limit", bytes);
}

// LZ4F_decompress wants somewhere to write even when there is nothing to write.
char nowhere;

Status DecompressLz4(LZ4F_dctx* context, std::string_view input, char* out, size_t bytes) {
  LZ4F_resetDecompressionContext(context);
  size_t read = 0;
  size_t written = 0;
  for (;;) {
    size_t in = input.size() - read;
    size_t room = bytes - written;
    const size_t hint = LZ4F_decompress(context, room == 0 ? &nowhere : out + written, &room, input.data() + read, &in, nullptr);
    if (LZ4F_isError(hint)) return Corrupt(Codec::kLz4, LZ4F_getErrorName(hint));
    read += in;
    written += room;
    if (hint == 0) break;
    if (in != 0 || room != 0) continue;
    if (written == bytes && read < input.size()) return WrongSize(Codec::kLz4, "more than " + std::to_string(bytes), bytes);
    return Corrupt(Codec::kLz4, "the frame ends too early");
  }
  if (read != input.size()) {
    return Corrupt(Codec::kLz4, std::to_string(input.size() - read) + " bytes follow the frame");
  }
  if (written != bytes) return WrongSize(Codec::kLz4, std::to_string(written), bytes);
  return {};
}

Status DecompressZstd(ZSTD_DCtx* context, std::string_view input, char* out, size_t bytes) {
  const unsigned long long content = ZSTD_getFrameContentSize(input.data(), input.size());
  if (content == ZSTD_CONTENTSIZE_ERROR) return Corrupt(Codec::kZstd, "they do not begin with a frame");
  if (content != ZSTD_CONTENTSIZE_UNKNOWN && content != bytes) return WrongSize(Codec::kZstd, std::to_string(content), bytes);
  const size_t frame = ZSTD_findFrameCompressedSize(input.data(), input.size());
  if (ZSTD_isError(frame)) return Corrupt(Codec::kZstd, ZSTD_getErrorName(frame));
  if (frame != input.size()) return Corrupt(Codec::kZstd, std::to_string(input.size() - frame) + " bytes follow the frame");
  // Straight into `out`: no window is allocated, whatever size the frame claims for it.
  const size_t written = ZSTD_decompressDCtx(context, out, bytes, input.data(), input.size());
  if (ZSTD_isError(written)) {
    const bool larger = std::string_view(ZSTD_getErrorName(written)) == "Destination buffer is too small";
    if (larger) return WrongSize(Codec::kZstd, "more than " + std::to_string(bytes), bytes);
    return Corrupt(Codec::kZstd, ZSTD_getErrorName(written));
  }
  if (written != bytes) return WrongSize(Codec::kZstd, std::to_string(written), bytes);
  return {};
}

}  // namespace

bool IsCodec(uint32_t number) { return number >= 1 && number <= 3; }

const char* CodecName(Codec codec) {
  switch (codec) {
    case Codec::kNone: return "none";
    case Codec::kLz4: return "lz4";
    case Codec::kZstd: return "zstd";
  }
  return "unknown";
}

Result<Codec> CodecOf(uint32_t number) {
  if (IsCodec(number)) return static_cast<Codec>(number);
  return Refuse(Refusal::kUnknownCodec, "codec " + std::to_string(number) + " is not known here; use none (1), lz4 (2) or zstd (3)")
      .With("codec", number);
}

struct Decompressor::Contexts {
  struct FreeLz4 {
    void operator()(LZ4F_dctx* context) const { LZ4F_freeDecompressionContext(context); }
  };
  struct FreeZstd {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  std::unique_ptr<LZ4F_dctx, FreeLz4> lz4;
  std::unique_ptr<ZSTD_DCtx, FreeZstd> zstd;
};

Decompressor::Decompressor() : contexts_(std::make_unique<Contexts>()) {}
Decompressor::~Decompressor() = default;

Status Decompressor::Decompress(Codec codec, std::string_view input, char* out, size_t bytes) {
  CHECK(codec != Codec::kNone);
  if (codec == Codec::kLz4) {
    if (contexts_->lz4 == nullptr) {
      LZ4F_dctx* made = nullptr;
      CHECK(!LZ4F_isError(LZ4F_createDecompressionContext(&made, LZ4F_VERSION)));
      contexts_->lz4.reset(made);
    }
    return DecompressLz4(contexts_->lz4.get(), input, out, bytes);
  }
  if (contexts_->zstd == nullptr) {
    contexts_->zstd.reset(ZSTD_createDCtx());
    CHECK(contexts_->zstd != nullptr);
  }
  return DecompressZstd(contexts_->zstd.get(), input, out, bytes);
}

}  // namespace flotilla::partition
