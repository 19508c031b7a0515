// What the metadata would be after a request, for calls with validate_only. Pure.
#pragma once

#include "server/metadata/metadata_controller.h"

namespace flotilla::broker {

// Names what a preview creates; nothing that exists is called so.
Uuid PreviewId();
// The image that the request leads to, under the next version; `request` without its tag. Refusals of its decider.
Result<metadata::Shared<metadata::Image>> ImageAfter(metadata::Request request, const metadata::Image& image, int64_t now_ms);

}  // namespace flotilla::broker
