// How a node gets into a cluster: founds one with its seeds when somebody asks for it, takes part in one that another founds, or
// joins one that is there. What it learns it writes down before it acts on it. Executor only.
//
//   waiting ──InitCluster──▶ asks all seeds who they are, then for their word, then tells them the plan ─┐
//      │  ◀──Bootstrap from another founder ───────────────────────────────────────────────────────────┤
//      └──Join, once a second, at one seed after the other ─────────────────────────────────────────────┴─▶ member
//
// A founder repeats the plan to the others until the metadata knows the cluster, so that a birth that was interrupted ends well.
// A member registers again whenever it starts: its addresses may be others. And when it has not heard of a leader of the metadata for
// a while: it may have been removed without being told. A removed node stops, and never joins under another id with the old data.
//
// Nobody is a member twice. Two nodes with one data directory would vote twice, so a member that starts at another address than before
// asks at the old one first, and stops if it is there still. If it cannot ask, the others keep it out: they talk to nobody whose address
// is not the registered one, and the metadata leader registers a new address only when the node is silent at the old one.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "flotilla/internal/v1/node_state.pb.h"
#include "flotilla/v1/cluster.pb.h"
#include "server/broker/options.h"
#include "server/broker/peer_network.h"
#include "server/metadata/founding.h"
#include "storage/base/random.h"

namespace flotilla::broker {

class ClusterLife {
 public:
  using InitDone = std::function<void(Result<v1::InitClusterResponse>)>;
  struct Callbacks {
    // The state was saved: be that member. `campaign`: this node made the plan.
    std::function<void(bool campaign)> become_member;
    std::function<internal::v1::NodeIdentity()> identity;
    // The image of the metadata; null while the node is in no cluster.
    std::function<metadata::Shared<metadata::Image>()> image;
    // Who leads the metadata, as far as this node knows; 0: nobody.
    std::function<NodeId()> controller;
    // Who is in the cluster, as the metadata leader said when this member registered: its own image may be too old to know the leader.
    std::function<void(const internal::v1::JoinResponse&)> met;
    // This node was removed from its cluster, or is a copy of one that lives: it has to stop.
    std::function<void(const Status&)> stop;
  };
  // References outlive this.
  ClusterLife(const BrokerOptions& options, const BrokerSurroundings& around, Callbacks callbacks, Random random);

  // Reads what the node remembers, and counts this start. DATA_LOSS, DIRECTORY_UNUSABLE.
  Status Start();
  const internal::v1::NodeState& state() const { return state_; }
  bool member() const { return state_.node_id() != 0; }
  // A member that does not take part before it has asked whether it runs at its old address, too.
  bool asks() const { return asks_; }

  // --- calls
  void InitCluster(const v1::InitClusterRequest& request, InitDone done);
  // From a founder.
  Result<internal::v1::BootstrapResponse> Bootstrap(const internal::v1::BootstrapRequest& request);
  void Tick();
  // Register anew.
  void Rejoin() { registered_ = false; }
  // For people: what it waits for.
  std::string Describe() const;

 private:
  // A birth under way.
  struct Birth {
    bool validate_only = false;
    InitDone done;
    std::map<std::string, Result<internal::v1::NodeIdentity>> answers;  // by seed
    std::optional<metadata::Founding> plan;
    size_t waiting = 0;
    // Seeds that could not be reached are asked again until then: they may have been started a moment ago.
    MonotonicTime patience{};
    std::vector<std::string> unreached;
    Status refusal;
  };

  void AskSeeds();
  void AskSeed(const std::string& seed);
  void OnSeed(const std::string& seed, const Result<std::string>& answer);
  void Plan();
  // Asks the other founders for their word.
  void TellFounders();
  void OnTold(const std::string& address, const Result<std::string>& answer);
  void EndBirth(Status status);
  void AnswerBirth();
  void RepeatPlan();
  Status Found(const internal::v1::BootstrapRequest& plan, bool mine);
  // Whether it ran at another address before.
  bool HasMoved() const;
  void AskOldAddress();
  void OnOldAddress(const std::string& address, const Result<std::string>& answer);
  Status Remember(internal::v1::NodeState state);
  void Refused(const Status& status);
  bool Registers();
  // The metadata has this node as another one than it is now.
  bool IsDescribedOtherwise(const metadata::Image& image) const;
  void Join();
  void OnJoined(const Result<std::string>& answer);
  Status CheckPlan(const internal::v1::BootstrapRequest& plan) const;
  std::vector<std::string> OtherSeeds() const;

  const BrokerOptions& options_;
  const BrokerSurroundings around_;
  const Callbacks callbacks_;
  Random random_;
  internal::v1::NodeState state_;
  std::optional<Birth> birth_;
  std::vector<InitDone> born_;  // who waits for the metadata to know the cluster
  // Of the cluster that this process would found: the same at each attempt, so that the word that others gave to an attempt that
  // failed holds for the next one.
  std::optional<Uuid> cluster_to_found_;
  // The word that was given to another founder.
  std::string promised_to_;
  MonotonicTime promised_until_{};
  bool registered_ = false;
  MonotonicTime copy_since_{};  // it is told that it is a copy
  MonotonicTime heard_at_{};    // of a leader of the metadata
  bool joining_ = false;
  bool asks_ = false;
  size_t next_seed_ = 0;
  MonotonicTime next_at_{};
  std::string last_problem_;
};

// A plan as it is told and kept, and back.
internal::v1::BootstrapRequest EncodePlan(const metadata::Founding& plan, const std::string& cluster_name);
Result<metadata::Founding> DecodePlan(const internal::v1::BootstrapRequest& plan);

}  // namespace flotilla::broker
