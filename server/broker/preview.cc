#include "server/broker/preview.h"

#include <string>
#include <variant>

#include "server/metadata/replay.h"

namespace flotilla::broker {

Uuid PreviewId() { return *Uuid::FromBytes(std::string(Uuid::kBytes, '\1')); }

Result<metadata::Shared<metadata::Image>> ImageAfter(metadata::Request request, const metadata::Image& image, int64_t now_ms) {
  std::visit(
      [](auto& change) {
        if constexpr (requires { change.tag; }) change.tag = {};
      },
      request);
  const Result<metadata::Decision> decision = metadata::Decide(request, image, {.now_ms = now_ms, .fresh_id = PreviewId(), .seed = 0});
  if (!decision.ok()) return decision.status();
  metadata::ImageBuilder builder(image, metadata::RecordSource::kLog);
  for (const metadata::Record& record : decision->records) FLOTILLA_RETURN_IF_ERROR(builder.Apply(record));
  return builder.Finish(image.version + 1);
}

}  // namespace flotilla::broker
