// What the suite needs of an implementation: a machine with a disk and a store on it, that can be restarted, robbed of its
// power, and made to fail. One per implementation.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "storage/log/log_store.h"

namespace flotilla::storage {

class Machine {
 public:
  virtual ~Machine() = default;

  // Opens the store. Not open before.
  virtual Status Open() = 0;
  // The process ends in good order.
  virtual void Close() = 0;
  // The machine loses power: what was not synced is lost.
  virtual void PowerCut() = 0;
  // Open now.
  virtual LogStore& store() = 0;

  // Lets what is queued be written, until nothing is. A store with a thread of its own needs no driving.
  virtual void Drive() = 0;
  // From HoldSyncs to ReleaseSyncs no sync ends, so that tasks queue up.
  virtual void HoldSyncs() = 0;
  virtual void ReleaseSyncs() = 0;

  virtual void SetFreeBytes(uint64_t bytes) = 0;
  virtual void FailNextSync() = 0;
};

using MachineFactory = std::function<std::unique_ptr<Machine>()>;

std::unique_ptr<Machine> MakeMemoryMachine();
std::unique_ptr<Machine> MakeRocksMachine();

}  // namespace flotilla::storage
