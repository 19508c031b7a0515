// Arbitrary text as the file that says whose data a directory holds.
#include "storage/rocks/data_directory.h"
#include "tests/fuzz/fuzz.h"

using namespace flotilla;
using namespace flotilla::storage;

FLOTILLA_FUZZ(input) {
  const Result<DirectoryIdentity> identity = DecodeIdentity(input);
  if (identity.ok()) CHECK(EncodeIdentity(*identity) == input);
}
