// What is seen from outside of the brokers, on their disks: who leads, what becomes of logs, and whether what clients were told or have
// read is on the disks of a majority of the partition's replicas. A replica's own word counts for nothing.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "server/metadata/image.h"
#include "tests/sim/broker/ledger.h"
#include "tests/sim/broker/machine.h"

namespace flotilla::sim::broker {

class Witness final : public KnownRecordSink {
 public:
  using Machines = std::vector<std::unique_ptr<Machine>>;
  // All outlive it.
  Witness(const Machines& machines, Verdict& verdict, Tally& tally, Trace& trace)
      : machines_(machines), verdict_(verdict), tally_(tally), trace_(trace) {}

  // A write is on its way to the machine's disk.
  void OnSubmit(const Machine& machine, const storage::WriteTask& task);
  void OnImage(const metadata::Shared<metadata::Image>& image);
  // Everything on the disk of the node that the machine is now is gone; it was there when it was acknowledged.
  void OnWiped(const Machine& machine);

  // KnownRecordSink: from now on the record is there for good.
  void OnKnown(const PartitionName& partition, int64_t offset, uint64_t record, const char* how) override;

  // The disk alone has all that clients know of the partition, and no less than they were told of its ends.
  bool HasAllKnown(const Machine& machine, const metadata::Partition& partition, const std::map<int64_t, uint64_t>& known,
                   const Ledger::Floor& floor) const;

  // --- the end, when it is quiet
  // Of deleted topics nothing is left on the disks.
  void CheckLeftovers();
  // "topic-1/0", "the metadata".
  std::string NameOf(GroupId group) const;

 private:
  // What a disk says of a record.
  enum class Held { kYes, kNo, kDamaged };
  Held Holds(const storage::MemoryDisk& disk, GroupId group, const ReplicaId& replica, int64_t offset, uint64_t record) const;
  const Machine* MachineOf(NodeId node) const;

  const Machines& machines_;
  Verdict& verdict_;
  Tally& tally_;
  Trace& trace_;
  metadata::Shared<metadata::Image> newest_;
  std::map<GroupId, Term> led_;  // the newest term that somebody led
  std::set<NodeId> wiped_;       // nodes whose disks are gone
};

}  // namespace flotilla::sim::broker
