// Writes a record and reads the topic from its beginning, on generated code alone: hello BROKER TOPIC
#include <grpcpp/grpcpp.h>

#include <iostream>

#include "flotilla/v1/consume.grpc.pb.h"
#include "flotilla/v1/produce.grpc.pb.h"

namespace v1 = flotilla::v1;

int main(int argc, char** argv) {
  const std::string broker = argc > 1 ? argv[1] : "127.0.0.1:9650";
  const std::string topic = argc > 2 ? argv[2] : "hello";
  const auto channel = grpc::CreateChannel(broker, grpc::InsecureChannelCredentials());

  v1::ProduceRequest request;
  request.mutable_topic()->set_name(topic);
  v1::Record& record = *request.add_items()->mutable_batch()->mutable_records()->add_records();
  record.set_key("greeting");
  record.set_value("hello from C++");
  v1::ProduceResponse produced;
  grpc::ClientContext producing;
  grpc::Status status = v1::ProduceService::NewStub(channel)->Produce(&producing, request, &produced);
  if (status.ok() && produced.results(0).has_error()) {
    status = {grpc::StatusCode(produced.results(0).error().code()), produced.results(0).error().message()};
  }

  v1::SubscribeRequest subscribe;
  subscribe.set_until_end(true);
  subscribe.add_topics()->mutable_topic()->set_name(topic);
  grpc::ClientContext consuming;
  const auto reader = v1::ConsumeService::NewStub(channel)->Subscribe(&consuming, subscribe);
  for (v1::SubscribeResponse event; status.ok() && reader->Read(&event);) {
    for (const v1::RecordBatch& batch : event.batches().batches()) {
      for (int i = 0; i < batch.records().records_size(); ++i) {
        std::cout << event.batches().partition() << "/" << batch.base_offset() + i << " " << batch.records().records(i).value() << "\n";
      }
    }
  }
  if (status.ok()) status = reader->Finish();
  if (!status.ok()) std::cerr << status.error_message() << "\n";
  return status.ok() ? 0 : 1;
}
