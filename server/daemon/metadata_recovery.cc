#include "server/daemon/metadata_recovery.h"

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <future>
#include <optional>
#include <ostream>
#include <span>
#include <utility>

#include "raft/core/configuration.h"
#include "raft/core/survivor.h"
#include "server/daemon/node_state_file.h"
#include "server/metadata/metadata_machine.h"
#include "storage/base/clock.h"
#include "storage/rocks/rocks_store.h"
#include "storage/rocks/stopped_store.h"

namespace flotilla {
namespace {

// What the directory has of the metadata.
struct Found {
  internal::v1::NodeState node;
  storage::GroupState group;
  raft::Configuration members;
};

Result<Found> Look(const std::string& directory, const storage::LogReader& logs) {
  Result<std::optional<internal::v1::NodeState>> node = ReadNodeState(directory);
  if (!node.ok()) return node.status();
  if (!*node || (*node)->node_id() == 0) {
    return Status(Reason::kInvalidArgument, "the node of " + directory + " is in no cluster; it has nothing to recover");
  }
  Result<storage::GroupState> group = logs.Load(metadata::kMetadataGroup);
  if (group.status().reason() == Reason::kGroupNotFound) {
    return Status(Reason::kInvalidArgument,
                  "node " + std::to_string((*node)->node_id()) + " has no metadata yet; another node has to go on");
  }
  if (!group.ok()) return group.status();
  const Bytes& encoded = group->configurations.empty() ? group->snapshot.configuration : group->configurations.back().payload;
  Result<raft::Configuration> members = raft::DecodeConfiguration(encoded.view());
  if (!members.ok()) return members.status();
  return Found{.node = **std::move(node), .group = *std::move(group), .members = *std::move(members)};
}

// What is written has to belong to whom the node runs as, or it could not open it afterwards.
Status CheckOwner(const std::string& directory) {
  struct stat status {};
  if (::stat(directory.c_str(), &status) != 0 || status.st_uid == ::geteuid()) return {};
  const passwd* const user = ::getpwuid(status.st_uid);
  const std::string owner = user != nullptr ? user->pw_name : "#" + std::to_string(status.st_uid);
  return Status(Reason::kDirectoryUnusable, directory + " belongs to " + owner + ", and so has to what is written there; run this as " +
                                                owner + ": runuser -u " + owner + " -- flotillad recover-metadata ...");
}

bool VotesAlone(const Found& found) { return !found.members.joint() && found.members.voters == std::vector{found.group.identity.self}; }

void Show(const Found& found, const Talk& talk) {
  const storage::GroupState& group = found.group;
  talk.out << "node " << found.node.node_id() << ": its metadata ends at term " << group.bounds.end.last.term << ", index "
           << group.bounds.last_index() << "; committed, as far as it knows, up to index " << group.hard_state.commit << "; "
           << raft::ToString(found.members) << std::endl;
}

class Written final : public storage::WriteSink {
 public:
  void OnWritten(std::span<const storage::WriteDone> done) override { written_.set_value(done.front().status); }
  Status Wait() { return written_.get_future().get(); }

 private:
  std::promise<Status> written_;
};

Status GoOn(storage::LogWriter& writer, const storage::GroupState& group, ReplicaId next_life) {
  Written sink;
  FLOTILLA_RETURN_IF_ERROR(writer.Submit(raft::SurvivorTask(group, next_life), sink));
  return sink.Wait();
}

internal::v1::MetadataRecovery RecordOf(const Found& found, ReplicaId next_life) {
  internal::v1::MetadataRecovery record;
  record.set_at_ms(SystemClock().WallMillis());
  record.set_incarnation(next_life.incarnation);
  record.set_last_term(found.group.bounds.end.last.term.value());
  record.set_last_index(found.group.bounds.last_index().value());
  record.set_committed_index(found.group.hard_state.commit.value());
  for (const ReplicaId& voter : found.members.voters) record.add_former_voter_node_ids(voter.node.value());
  return record;
}

// Nothing in the directory changes.
int Preview(const MetadataRecoveryOptions& options, const Talk& talk) {
  const Result<std::unique_ptr<storage::StoppedStore>> store = storage::StoppedStore::Open(options.directory);
  if (!store.ok()) return Fail(store.status(), talk);
  const Result<Found> found = Look(options.directory, (*store)->logs());
  if (!found.ok()) return Fail(found.status(), talk);
  Show(*found, talk);
  if (VotesAlone(*found)) {
    talk.err << "this node is the only voter already: start it" << std::endl;
    return kExitNotDone;
  }
  talk.err << "would be lost: whatever the metadata decided after that: topics, settings, members, replicas that moved\n"
              "Look at every node that is left: the one with the highest term, and of those the highest index, has to go on; the others "
              "follow it.\n"
              "nothing was done; add --i-accept-data-loss to let this node go on as the only voter, and never start the lost ones again "
              "with what they had"
           << std::endl;
  return kExitNotDone;
}

}  // namespace

int RecoverMetadata(const MetadataRecoveryOptions& options, const Talk& talk) {
  if (!options.accept_data_loss) return Preview(options, talk);
  // OpenRocksStore makes what is not there; this one says that it is not.
  if (const Result<std::unique_ptr<storage::StoppedStore>> there = storage::StoppedStore::Open(options.directory); !there.ok()) {
    return Fail(there.status(), talk);
  }
  if (const Status owned = CheckOwner(options.directory); !owned.ok()) return Fail(owned, talk);
  storage::RocksStoreOptions store_options;
  store_options.directory = options.directory;
  const Result<std::unique_ptr<storage::RocksStore>> store = storage::OpenRocksStore(store_options);
  if (!store.ok()) return Fail(store.status(), talk);
  Result<Found> found = Look(options.directory, **store);
  if (!found.ok()) return Fail(found.status(), talk);
  Show(*found, talk);
  if (VotesAlone(*found)) {
    talk.err << "nothing was done: this node is the only voter already; start it" << std::endl;
    return kExitNotDone;
  }
  const ReplicaId self = found->group.identity.self;
  const ReplicaId next_life{.node = self.node, .incarnation = self.incarnation + 1};
  // What is about to be done is written first: it may then be there and not done, but never done and not there.
  *found->node.add_metadata_recoveries() = RecordOf(*found, next_life);
  NodeStateFile file(options.directory, **store);
  if (const Status saved = file.Save(found->node); !saved.ok()) return Fail(saved, talk);
  if (const Status done = GoOn(**store, found->group, next_life); !done.ok()) return Fail(done, talk);
  talk.out << "node " << self.node << " goes on as the metadata's only voter, as replica " << next_life
           << ": start it, then the others that are left, and remove those that are lost (flotilla node remove)" << std::endl;
  return 0;
}

}  // namespace flotilla
