#include "server/config/schema.h"

#include <algorithm>
#include <array>
#include <limits>

#include "server/config/values.h"
#include "storage/base/limits.h"

namespace flotilla::config {
namespace {

using namespace std::chrono_literals;

constexpr uint64_t kMiB = limits::kMiB;
constexpr uint64_t kGiB = limits::kGiB;
constexpr uint64_t kTiB = 1024 * kGiB;

constexpr std::array kSections = {
    Section{"node", "This node."},
    Section{"cluster", "The cluster that the node belongs to. The same on every node."},
    Section{"listen", "Where the node listens: host:port. The host 0.0.0.0 (or [::]) means all addresses of the machine."},
    Section{"tls", "This version speaks plain text only: keep it on loopback or in a network that you trust."},
    Section{"limits", "What is refused, with an error that names the limit."},
    Section{"grpc", "How streams and connections are kept alive."},
    Section{"raft", "Elections. The same on every node."},
    Section{"storage", "The database under node.data_dir."},
    Section{"log", "What the node tells its operator."},
};

constexpr std::array<std::string_view, 2> kBootstraps = {"manual", "single"};
constexpr std::array<std::string_view, 1> kTlsModes = {"off"};
constexpr std::array<std::string_view, 3> kLogLevels = {"info", "warning", "error"};
constexpr std::array<std::string_view, 2> kLogTargets = {"stderr", "file"};

constexpr std::array kKeys = {
    Key{.section = "node",
        .name = "name",
        .kind = NameKey{[](Config& c) -> std::string& { return c.node.name; }, false},
        .default_text = "",
        .help = "A label for people, one per node. \"\" takes the name of the host. The node's number is given by the "
                "cluster."},
    Key{.section = "node",
        .name = "rack",
        .kind = NameKey{[](Config& c) -> std::string& { return c.node.rack; }, false},
        .default_text = "",
        .help = "What fails together: the replicas of a partition are spread over racks. \"\" is none."},
    Key{.section = "node",
        .name = "data_dir",
        .kind = PathKey{[](Config& c) -> std::string& { return c.node.data_dir; }, true},
        .default_text = "/var/lib/flotilla",
        .help = "The node's data. Empty at first; later it must be the directory of this very node."},

    Key{.section = "cluster",
        .name = "name",
        .kind = NameKey{[](Config& c) -> std::string& { return c.cluster.name; }, true},
        .default_text = "",
        .help = "REQUIRED. Nodes of a cluster with another name are not talked to."},
    Key{.section = "cluster",
        .name = "seeds",
        .kind = TargetListKey{[](Config& c) -> std::vector<Address>& { return c.cluster.seeds; }, 64},
        .default_text = "",
        .help = "Peer addresses (host:port) that a node without a cluster asks for one, such as [10.0.0.1:9651, "
                "10.0.0.2:9651, 10.0.0.3:9651]. Write the same list on every node, the node itself included. Empty: this "
                "node alone."},
    Key{.section = "cluster",
        .name = "bootstrap",
        .kind = ChoiceKey{kBootstraps, [](Config& c, size_t i) { c.cluster.bootstrap = i == 0 ? Bootstrap::kManual : Bootstrap::kSingle; }},
        .default_text = "manual",
        .help = "manual: a new node waits until somebody founds the cluster (flotilla cluster init) or until a seed takes it "
                "in. single: a new node founds a cluster of its own."},

    Key{.section = "listen",
        .name = "client",
        .kind = ListenKey{[](Config& c) -> Address& { return c.listen.client; }},
        .default_text = "127.0.0.1:9650",
        .help = "gRPC for clients."},
    Key{.section = "listen",
        .name = "peer",
        .kind = ListenKey{[](Config& c) -> Address& { return c.listen.peer; }},
        .default_text = "127.0.0.1:9651",
        .help = "gRPC for the other nodes, and for nobody else."},
    Key{.section = "listen",
        .name = "http",
        .kind = OptionalListenKey{[](Config& c) -> std::optional<Address>& { return c.listen.http; }},
        .default_text = "127.0.0.1:9652",
        .help = "HTTP: /metrics, /healthz, /readyz. \"\" is off."},
    Key{.section = "listen",
        .name = "advertise_client",
        .kind = OptionalTargetKey{[](Config& c) -> std::optional<Address>& { return c.listen.advertise_client; }},
        .default_text = "",
        .help = "Where clients are told to find this node. \"\": listen.client, with node.name as the host when it listens "
                "on all addresses."},
    Key{.section = "listen",
        .name = "advertise_peer",
        .kind = OptionalTargetKey{[](Config& c) -> std::optional<Address>& { return c.listen.advertise_peer; }},
        .default_text = "",
        .help = "Where the other nodes are told to find this one. \"\": likewise, from listen.peer."},

    Key{.section = "tls",
        .name = "mode",
        .kind = ChoiceKey{kTlsModes, [](Config& c, size_t) { c.tls.mode = TlsMode::kOff; }},
        .default_text = "off",
        .help = "off: connections are neither encrypted nor authenticated."},
    Key{.section = "tls",
        .name = "insecure",
        .kind = BoolKey{[](Config& c) -> bool& { return c.tls.insecure; }},
        .default_text = "false",
        .help = "true: listen beyond loopback all the same. Whoever reaches a port can then read and change everything."},

    Key{.section = "limits",
        .name = "inflight_bytes",
        .kind = SizeKey{[](Config& c) -> uint64_t& { return c.limits.inflight_bytes; }, 8 * kMiB, 64 * kGiB},
        .default_text = "256MiB",
        .help = "Records received and not yet answered, all clients together. Above it requests are refused; clients try "
                "again later."},
    Key{.section = "limits",
        .name = "max_connections",
        .kind = CountKey{[](Config& c) -> uint32_t& { return c.limits.max_connections; }, 16, 1'000'000},
        .default_text = "10000",
        .help = "Connections of clients that are open at once; further ones are told so and closed. With a low limit of "
                "file descriptors (LimitNOFILE) it is fewer, and the log says so."},
    Key{.section = "limits",
        .name = "max_streams",
        .kind = CountKey{[](Config& c) -> uint32_t& { return c.limits.max_streams; }, 1, 1'000'000},
        .default_text = "10000",
        .help = "Streams that are open at once, all clients together."},
    Key{.section = "limits",
        .name = "consumer_stall",
        .kind = DurationKey{[](Config& c) -> Duration& { return c.limits.consumer_stall; }, 1s, 1h},
        .default_text = "60s",
        .help = "A subscriber that takes nothing for so long is disconnected."},

    Key{.section = "grpc",
        .name = "stream_heartbeat",
        .kind = DurationKey{[](Config& c) -> Duration& { return c.grpc.stream_heartbeat; }, 100ms, 15s},
        .default_text = "10s",
        .help = "A stream on which nothing happens gets a heartbeat so often. Clients take 30 s of silence for a dead "
                "connection."},

    Key{.section = "raft",
        .name = "tick",
        .kind = DurationKey{[](Config& c) -> Duration& { return c.raft.tick; }, 5ms, 1s},
        .default_text = "50ms",
        .help = "The unit in which the timeouts are counted."},
    Key{.section = "raft",
        .name = "heartbeat",
        .kind = DurationKey{[](Config& c) -> Duration& { return c.raft.heartbeat; }, 5ms, 10s},
        .default_text = "150ms",
        .help = "How often a leader says that it lives. A multiple of raft.tick, and less than a third of "
                "raft.election_timeout."},
    Key{.section = "raft",
        .name = "election_timeout",
        .kind = DurationKey{[](Config& c) -> Duration& { return c.raft.election_timeout; }, 50ms, 60s},
        .default_text = "1s",
        .help = "A leader that was not heard of for one to two times as long is replaced. A multiple of raft.tick."},

    Key{.section = "storage",
        .name = "block_cache",
        .kind = SizeKey{[](Config& c) -> uint64_t& { return c.storage.block_cache_bytes; }, kMiB, kTiB},
        .default_text = "64MiB",
        .help = "Memory for what was read from the disk."},
    Key{.section = "storage",
        .name = "write_buffer",
        .kind = SizeKey{[](Config& c) -> uint64_t& { return c.storage.write_buffer_bytes; }, 16 * kMiB, 64 * kGiB},
        .default_text = "192MiB",
        .help = "Memory for what was written and is not yet sorted into files (memtables)."},
    Key{.section = "storage",
        .name = "wal_max",
        .kind = SizeKey{[](Config& c) -> uint64_t& { return c.storage.wal_bytes_max; }, 64 * kMiB, kTiB},
        .default_text = "1GiB",
        .help = "The write-ahead log on the disk; it is read when the node starts. At least storage.write_buffer."},
    Key{.section = "storage",
        .name = "background_jobs",
        .kind = CountKey{[](Config& c) -> uint32_t& { return c.storage.background_jobs; }, 1, 64},
        .default_text = "2",
        .help = "Flushes and compactions at once."},
    Key{.section = "storage",
        .name = "direct_io",
        .kind = BoolKey{[](Config& c) -> bool& { return c.storage.direct_io; }},
        .default_text = "true",
        .help = "The write-ahead log, flushes and compactions go around the page cache, where the file system can."},
    Key{.section = "storage",
        .name = "disk_reserve",
        .kind = SizeKey{[](Config& c) -> uint64_t& { return c.storage.disk_reserve_bytes; }, kMiB, kTiB},
        .default_text = "256MiB",
        .help = "Produce is refused (DISK_FULL) when less is free; reading, deleting and voting go on."},
    Key{.section = "storage",
        .name = "slow_sync",
        .kind = DurationKey{[](Config& c) -> Duration& { return c.storage.slow_sync; }, 1ms, 600s},
        .default_text = "500ms",
        .help = "A disk whose syncs take so long is sick: after storage.slow_for the node hands over what others can lead, and takes "
                "it back when syncs have taken less than half of it for storage.well_for."},
    Key{.section = "storage",
        .name = "slow_for",
        .kind = DurationKey{[](Config& c) -> Duration& { return c.storage.slow_for; }, 1s, 1h},
        .default_text = "15s",
        .help = "How long syncs have to be slow until the node hands over."},
    Key{.section = "storage",
        .name = "well_for",
        .kind = DurationKey{[](Config& c) -> Duration& { return c.storage.well_for; }, 1s, 24h},
        .default_text = "60s",
        .help = "How long the disk has to be well, and above its reserve, until the node may lead again. Each relapse doubles it, up to "
                "eight times."},
    Key{.section = "storage",
        .name = "log_families",
        .kind = CountKey{[](Config& c) -> uint32_t& { return c.storage.log_families; }, 1, limits::kLogFamiliesMax},
        .default_text = "32",
        .help = "Column families that partitions are spread over. Fixed when the data directory is made; later changes do "
                "nothing."},

    Key{.section = "log",
        .name = "level",
        .kind = ChoiceKey{kLogLevels, [](Config& c, size_t i) { c.log.level = static_cast<LogLevel>(i); }},
        .default_text = "info",
        .reloadable = true,
        .help = "Lines below this level are left out."},
    Key{.section = "log",
        .name = "to",
        .kind = ChoiceKey{kLogTargets, [](Config& c, size_t i) { c.log.to = static_cast<LogTarget>(i); }},
        .default_text = "stderr",
        .help = "stderr (under systemd: the journal), or files in log.dir."},
    Key{.section = "log",
        .name = "dir",
        .kind = PathKey{[](Config& c) -> std::string& { return c.log.dir; }, false},
        .default_text = "",
        .help = "Where log.to: file writes. The directory exists."},
    Key{.section = "log",
        .name = "verbosity",
        .kind = CountKey{[](Config& c) -> uint32_t& { return c.log.verbosity; }, 0, 9},
        .default_text = "0",
        .reloadable = true,
        .help = "Details for those who look for a fault: 0 is none."},
};

constexpr bool InOrderOfSections() {
  size_t section = 0;
  for (const Key& key : kKeys) {
    while (section < kSections.size() && kSections[section].name != key.section) ++section;
  }
  return section + 1 == kSections.size();
}
static_assert(InOrderOfSections(), "keys stand in the order of their sections, and every section has one");

// How many letters have to change (Levenshtein).
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

// Keeps the candidate that is most like a word, if it is like it at all.
class Suggestion {
 public:
  explicit Suggestion(std::string_view word)
      : word_(word.substr(0, kComparedBytesMax)), distance_(std::max<size_t>(2, word_.size() / 3) + 1) {}

  void Offer(std::string_view compared, std::string text) {
    // "max_stream_bytes" is meant by "stream_bytes", far as they are apart.
    const bool part = word_.size() >= 4 && compared.find(word_) != std::string_view::npos;
    const size_t distance = part ? 1 : EditDistance(word_, compared);
    if (distance >= distance_) return;
    distance_ = distance;
    text_ = std::move(text);
  }
  std::string Take() { return std::move(text_); }

 private:
  static constexpr size_t kComparedBytesMax = 64;
  std::string_view word_;
  size_t distance_;
  std::string text_;
};

std::string Alternatives(std::span<const std::string_view> choices) {
  std::string text;
  for (size_t i = 0; i < choices.size(); ++i) {
    if (i > 0) text += i + 1 == choices.size() ? " or " : ", ";
    text += choices[i];
  }
  return text;
}

}  // namespace

std::span<const Section> Sections() { return kSections; }
std::span<const Key> Keys() { return kKeys; }

const Section* FindSection(std::string_view name) {
  const auto found = std::find_if(kSections.begin(), kSections.end(), [&](const Section& s) { return s.name == name; });
  return found == kSections.end() ? nullptr : &*found;
}

const Key* FindKey(std::string_view section, std::string_view name) {
  const auto found = std::find_if(kKeys.begin(), kKeys.end(), [&](const Key& key) { return key.section == section && key.name == name; });
  return found == kKeys.end() ? nullptr : &*found;
}

std::string SuggestKey(std::string_view section, std::string_view name) {
  Suggestion suggestion(name);
  // Those of the same section first: among equals the first one stays.
  for (const bool same_section : {true, false}) {
    for (const Key& key : kKeys) {
      if ((key.section == section) == same_section) suggestion.Offer(key.name, key.path());
    }
  }
  return suggestion.Take();
}

std::string SuggestSection(std::string_view name) {
  Suggestion suggestion(name);
  for (const Section& section : kSections) suggestion.Offer(section.name, std::string(section.name));
  // A key that was written without its section.
  for (const Key& key : kKeys) {
    if (key.name == name) suggestion.Offer(key.name, key.path());
  }
  return suggestion.Take();
}

std::string Key::variable() const {
  std::string text = "FLOTILLA_" + std::string(section) + "__" + std::string(name);
  for (char& c : text) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return text;
}

bool Key::required() const {
  const auto* label = std::get_if<NameKey>(&kind);
  return label != nullptr && label->required;
}

std::string Key::Range() const {
  struct Visitor {
    std::string operator()(const CountKey& k) const { return std::to_string(k.min) + " to " + std::to_string(k.max); }
    std::string operator()(const SizeKey& k) const { return FormatSize(k.min) + " to " + FormatSize(k.max); }
    std::string operator()(const DurationKey& k) const { return FormatDuration(k.min) + " to " + FormatDuration(k.max); }
    std::string operator()(const BoolKey&) const { return "true or false"; }
    std::string operator()(const NameKey& k) const {
      return std::string("letters, digits, '.', '_' and '-', at most 249") + (k.required ? "" : ", or \"\"");
    }
    std::string operator()(const PathKey& k) const { return k.required ? "an absolute path" : "an absolute path, or \"\""; }
    std::string operator()(const ListenKey&) const { return "host:port; port 0 takes any that is free"; }
    std::string operator()(const OptionalListenKey&) const { return "host:port, or \"\""; }
    std::string operator()(const OptionalTargetKey&) const { return "host:port, or \"\""; }
    std::string operator()(const TargetListKey& k) const { return "a list of at most " + std::to_string(k.count_max) + " host:port"; }
    std::string operator()(const ChoiceKey& k) const { return Alternatives(k.choices); }
  };
  return std::visit(Visitor{}, kind);
}

Value DefaultValue(const Key& key) {
  Value value{.is_list = key.is_list()};
  if (!value.is_list) value.texts.emplace_back(key.default_text);
  return value;
}

}  // namespace flotilla::config
