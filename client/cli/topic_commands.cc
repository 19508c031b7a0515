#include <CLI/CLI.hpp>

#include "client/cli/admin_text.h"
#include "client/cli/commands.h"
#include "client/cli/config_text.h"
#include "client/cli/exit_codes.h"
#include "client/cli/pages.h"
#include "client/cli/session.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "flotilla/v1/admin.pb.h"

namespace flotilla::cli {
namespace {

constexpr char kService[] = "/flotilla.v1.AdminService/";

struct TopicOptions {
  std::string topic;
  std::optional<int32_t> partitions;
  std::optional<int32_t> replication;
  std::vector<std::string> set;
  std::vector<std::string> unset;
  bool dry_run = false;
  bool if_not_exists = false;
  bool if_exists = false;
  std::string prefix;
  int32_t partition = 0;
  int64_t before = 0;
};

std::string Method(const char* name) { return std::string(kService) + name; }

void PrintTopics(Session& session, const std::vector<const v1::Topic*>& topics) {
  std::vector<std::string> header = {"TOPIC", "PARTITIONS", "REPLICAS", "STATE"};
  if (session.wide()) header.insert(header.end(), {"CREATED", "ID", "CONFIG"});
  Table table(header);
  for (const v1::Topic* topic : topics) {
    std::vector<std::string> row = {TopicText(topic->topic()), std::to_string(topic->partition_count()),
                                    std::to_string(topic->replication_factor()),
                                    ShortName(v1::TopicState_Name(topic->state()), "TOPIC_STATE_")};
    if (session.wide()) {
      const std::map<std::string, std::string> sorted(topic->config().begin(), topic->config().end());
      std::string config;
      for (const auto& [name, value] : sorted) config += (config.empty() ? "" : ",") + name + "=" + value;
      row.insert(row.end(), {TimeText(topic->create_time_ms()), topic->topic().topic_id(), config});
    }
    table.Add(std::move(row));
  }
  table.Print(session.out());
}

int Create(Session& session, const TopicOptions& options) {
  v1::CreateTopicRequest request;
  request.mutable_topic()->set_name(options.topic);
  if (options.partitions) request.set_partition_count(*options.partitions);
  if (options.replication) request.set_replication_factor(*options.replication);
  if (client::Error error = PutSettings(options.set, request.mutable_config()); !error.ok()) return session.Fail(error);
  request.set_validate_only(options.dry_run);
  request.set_request_id(client::NewRequestId());
  v1::CreateTopicResponse response;
  const client::Error error = session.Call(Method("CreateTopic"), request, &response);
  if (options.if_not_exists && error.reason() == "TOPIC_EXISTS") {
    session.Say("topic " + options.topic + " exists already");
    return kExitOk;
  }
  if (!error.ok()) return session.Fail(error);
  if (session.json()) return session.PrintJson(response), kExitOk;
  session.Say(options.dry_run ? "would be created" : "created");
  PrintTopics(session, {&response.topic()});
  return kExitOk;
}

int List(Session& session, const TopicOptions& options) {
  v1::ListTopicsRequest request;
  request.set_name_prefix(options.prefix);
  v1::ListTopicsResponse response;
  const client::Error error = CallAllPages(session, Method("ListTopics"), request, &response);
  if (!error.ok()) return session.Fail(error);
  if (session.json()) return session.PrintJson(response), kExitOk;
  std::vector<const v1::Topic*> topics;
  for (const v1::Topic& topic : response.topics()) topics.push_back(&topic);
  PrintTopics(session, topics);
  return kExitOk;
}

int Describe(Session& session, const TopicOptions& options) {
  v1::GetTopicRequest topic_request;
  topic_request.mutable_topic()->set_name(options.topic);
  v1::GetTopicResponse topic;
  if (client::Error error = session.Call(Method("GetTopic"), topic_request, &topic); !error.ok()) return session.Fail(error);
  v1::ListPartitionsRequest partitions_request;
  partitions_request.mutable_topic()->set_name(options.topic);
  v1::ListPartitionsResponse partitions;
  if (client::Error error = CallAllPages(session, Method("ListPartitions"), partitions_request, &partitions); !error.ok()) {
    return session.Fail(error);
  }
  v1::GetConfigRequest config_request;
  config_request.mutable_resource()->mutable_topic()->set_name(options.topic);
  v1::GetConfigResponse config;
  if (client::Error error = session.Call(Method("GetConfig"), config_request, &config); !error.ok()) return session.Fail(error);
  if (session.json()) {
    session.out() << "{\"topic\":" << ToJson(topic.topic(), false) << ",\"partitions\":[";
    for (int i = 0; i < partitions.partitions_size(); ++i) {
      session.out() << (i == 0 ? "" : ",") << ToJson(partitions.partitions(i), false);
    }
    session.out() << "],\"config\":[";
    for (int i = 0; i < config.entries_size(); ++i) session.out() << (i == 0 ? "" : ",") << ToJson(config.entries(i), false);
    session.out() << "]}" << std::endl;
    return kExitOk;
  }
  PrintTopics(session, {&topic.topic()});
  session.out() << "\n";
  Table table({"PARTITION", "LEADER", "EPOCH", "REPLICAS", "START", "END", "SIZE"});
  for (const v1::PartitionDetails& details : partitions.partitions()) {
    const v1::Partition& partition = details.partition();
    table.Add({std::to_string(partition.partition()), partition.leader_node_id() == 0 ? "none" : std::to_string(partition.leader_node_id()),
               std::to_string(partition.leader_epoch()), ReplicasText(partition),
               details.leader_answered() ? std::to_string(details.log_start_offset()) : "",
               details.leader_answered() ? std::to_string(details.high_watermark()) : "",
               details.leader_answered() ? ByteText(details.size_bytes()) : ""});
  }
  table.Print(session.out());
  session.out() << "\n";
  PrintConfig(session, config.entries());
  return kExitOk;
}

int Alter(Session& session, const TopicOptions& options) {
  v1::ConfigResource resource;
  resource.mutable_topic()->set_name(options.topic);
  return AlterConfig(session, resource, {.set = options.set, .unset = options.unset, .dry_run = options.dry_run});
}

int AddPartitions(Session& session, const TopicOptions& options) {
  v1::AddPartitionsRequest request;
  request.mutable_topic()->set_name(options.topic);
  request.set_partition_count(*options.partitions);
  request.set_validate_only(options.dry_run);
  request.set_request_id(client::NewRequestId());
  v1::AddPartitionsResponse response;
  if (client::Error error = session.Call(Method("AddPartitions"), request, &response); !error.ok()) return session.Fail(error);
  if (session.json()) return session.PrintJson(response), kExitOk;
  session.Say("keys go to other partitions from now on; records stay where they are");
  PrintTopics(session, {&response.topic()});
  return kExitOk;
}

int Delete(Session& session, const TopicOptions& options) {
  v1::GetTopicRequest look;
  look.mutable_topic()->set_name(options.topic);
  v1::GetTopicResponse found;
  const client::Error missing = session.Call(Method("GetTopic"), look, &found);
  if (options.if_exists && missing.reason() == client::reasons::kTopicNotFound) return kExitOk;
  if (!missing.ok()) return session.Fail(missing);
  const std::string consequence =
      "deletes topic " + options.topic + " with all records of its " + std::to_string(found.topic().partition_count()) + " partitions";
  if (!options.dry_run && !session.Confirm(consequence, options.topic)) return kExitUsage;
  v1::DeleteTopicRequest request;
  *request.mutable_topic() = found.topic().topic();  // with its id: this one and no namesake
  request.set_validate_only(options.dry_run);
  request.set_request_id(client::NewRequestId());
  v1::DeleteTopicResponse response;
  if (client::Error error = session.Call(Method("DeleteTopic"), request, &response); !error.ok()) return session.Fail(error);
  if (session.json()) return session.PrintJson(response), kExitOk;
  session.Say((options.dry_run ? "would delete " : "deleted ") + options.topic);
  return kExitOk;
}

int Trim(Session& session, const TopicOptions& options) {
  const std::string place = options.topic + "/" + std::to_string(options.partition);
  const std::string consequence = "deletes the records of " + place + " before offset " + std::to_string(options.before);
  if (!options.dry_run && !session.Confirm(consequence, options.topic)) return kExitUsage;
  v1::TrimPartitionRequest request;
  request.mutable_partition()->mutable_topic()->set_name(options.topic);
  request.mutable_partition()->set_partition(options.partition);
  request.set_before_offset(options.before);
  request.set_validate_only(options.dry_run);
  request.set_request_id(client::NewRequestId());
  v1::TrimPartitionResponse response;
  if (client::Error error = session.Call(Method("TrimPartition"), request, &response); !error.ok()) return session.Fail(error);
  if (session.json()) return session.PrintJson(response), kExitOk;
  Table table({"PARTITION", "START", "END"});
  table.Add({place, std::to_string(response.log_start_offset()), std::to_string(response.high_watermark())});
  table.Print(session.out());
  return kExitOk;
}

}  // namespace

void AddTopicCommands(CLI::App& app, Session& session) {
  CLI::App& topic = *app.add_subcommand("topic", "Topics and their config")->require_subcommand(1);
  const auto add = [&](const char* verb, const char* about, int (*run)(Session&, const TopicOptions&)) {
    auto options = std::make_shared<TopicOptions>();
    CLI::App& command = *topic.add_subcommand(verb, about);
    command.callback([&session, options, run] { session.action = [&session, options, run] { return run(session, *options); }; });
    return std::pair<CLI::App&, TopicOptions&>(command, *options);
  };
  const auto take_name = [](CLI::App& command, TopicOptions& options) {
    command.add_option("TOPIC", options.topic, "The topic's name")->required();
  };
  const auto take_dry_run = [](CLI::App& command, TopicOptions& options) { command.add_flag("--dry-run", options.dry_run, "Only check"); };
  {
    auto [command, options] = add("create", "Create a topic, and wait for its leaders", Create);
    take_name(command, options);
    command.add_option("-p,--partitions", options.partitions, "How many; default: the cluster's");
    command.add_option("-r,--replicas", options.replication, "Of each partition: 1, 3 or 5; default: the cluster's");
    command.add_option("--set", options.set, "Config, NAME=VALUE")->type_name("SETTING")->expected(1)->take_all();
    command.add_flag("--if-not-exists", options.if_not_exists, "Be content when it exists");
    take_dry_run(command, options);
  }
  {
    auto [command, options] = add("list", "All topics", List);
    command.add_option("--prefix", options.prefix, "Only names that begin with this");
  }
  {
    auto [command, options] = add("describe", "A topic, its partitions and its config", Describe);
    take_name(command, options);
  }
  {
    auto [command, options] = add("alter", "Change config entries, all or none", Alter);
    take_name(command, options);
    command.add_option("--set", options.set, "NAME=VALUE")->type_name("SETTING")->expected(1)->take_all();
    command.add_option("--unset", options.unset, "Back to the default")->type_name("NAME")->expected(1)->take_all();
    take_dry_run(command, options);
  }
  {
    auto [command, options] = add("add-partitions", "Give a topic more partitions", AddPartitions);
    take_name(command, options);
    command.add_option("--total,COUNT", options.partitions, "How many it shall have in total")->required();
    take_dry_run(command, options);
  }
  {
    auto [command, options] = add("delete", "Delete a topic with all its records", Delete);
    take_name(command, options);
    command.add_flag("--if-exists", options.if_exists, "Be content when there is none");
    take_dry_run(command, options);
  }
  {
    auto [command, options] = add("trim", "Delete the oldest records of a partition", Trim);
    take_name(command, options);
    command.add_option("-p,--partition", options.partition, "The partition")->required();
    command.add_option("--before", options.before, "The first offset to keep")->required();
    take_dry_run(command, options);
  }
}

}  // namespace flotilla::cli
