// A request is carried out once, however often it is sent: by the name that its caller gave it.
//
//   const uint64_t fingerprint = Fingerprint("create_topic").Add(name).Add(count).value();
//   return DecideOnce({tag, fingerprint}, image, context, [&] { return Create(request, image, context); });
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "server/metadata/decision.h"

namespace flotilla::metadata {

// A hash of everything that a request says (FNV-1a, 64 bits), the same on every machine.
class Fingerprint {
 public:
  explicit Fingerprint(std::string_view kind) { Add(kind); }

  Fingerprint& Add(std::string_view text);
  Fingerprint& Add(uint64_t number);
  Fingerprint& Add(const std::optional<int64_t>& number);
  uint64_t value() const { return hash_; }

 private:
  void AddByte(uint8_t byte);
  uint64_t hash_ = 0xCBF29CE484222325ULL;
};

// INVALID_ARGUMENT, LIMIT_EXCEEDED: a request_id that is too long or not printable ASCII without space.
// REQUEST_ID_REUSED: it was carried out, but it was another request.
Result<std::optional<Outcome>> Recall(const RequestTag& tag, uint64_t fingerprint, const Image& image);

// Adds the record, if the request has an id; with validate_only takes all records away instead.
void Remember(const RequestTag& tag, uint64_t fingerprint, const Context& context, Decision* decision);

// NOT_INITIALIZED: there is no cluster yet, about which something could be decided.
Status CheckInitialized(const Image& image);

// Which request it is.
struct OnceKey {
  const RequestTag& tag;
  uint64_t fingerprint = 0;
};
// The frame of every change: the cluster exists, the request was not carried out before, and once it is, that
// is remembered. `decide()` returns a Result<Decision>.
template <typename Decide>
Result<Decision> DecideOnce(const OnceKey& key, const Image& image, const Context& context, Decide decide) {
  FLOTILLA_RETURN_IF_ERROR(CheckInitialized(image));
  Result<std::optional<Outcome>> before = Recall(key.tag, key.fingerprint, image);
  if (!before.ok()) return before.status();
  if (*before) return Decision{.records = {}, .outcome = **before};
  Result<Decision> decision = decide();
  if (!decision.ok()) return decision;
  decision->outcome.cluster = image.cluster->id;
  Remember(key.tag, key.fingerprint, context, &*decision);
  return decision;
}

}  // namespace flotilla::metadata
