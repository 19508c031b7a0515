#include "server/daemon/service_manager.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace flotilla {
namespace {

// Each extension lasts for several intervals: one that is late does no harm.
constexpr Duration kExtendEvery = std::chrono::seconds(10);
constexpr Duration kExtension = std::chrono::seconds(60);

std::string TakeVariable(const char* name) {
  const char* value = std::getenv(name);
  std::string text = value == nullptr ? "" : value;
  ::unsetenv(name);
  return text;
}

// 0: not a number.
uint64_t NumberOf(const std::string& text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? number : 0;
}

}  // namespace

ServiceManager ServiceManager::FromEnvironment() {
  std::string socket = TakeVariable("NOTIFY_SOCKET");
  const uint64_t micros = NumberOf(TakeVariable("WATCHDOG_USEC"));
  const std::string pid = TakeVariable("WATCHDOG_PID");
  std::optional<Duration> watchdog;
  const bool meant = pid.empty() || NumberOf(pid) == static_cast<uint64_t>(::getpid());
  if (micros > 0 && meant) watchdog = std::chrono::microseconds(micros);
  return ServiceManager(std::move(socket), watchdog);
}

void ServiceManager::Status(std::string text) const {
  std::replace(text.begin(), text.end(), '\n', ' ');
  Send("STATUS=" + text);
}

void ServiceManager::ExtendTimeout(Duration more) const {
  Send("EXTEND_TIMEOUT_USEC=" + std::to_string(std::chrono::duration_cast<std::chrono::microseconds>(more).count()));
}

void ServiceManager::Send(std::string_view message) const {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_.empty() || socket_.size() >= sizeof(address.sun_path)) return;
  std::memcpy(address.sun_path, socket_.data(), socket_.size());
  if (address.sun_path[0] == '@') address.sun_path[0] = '\0';
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_.size());
  const int sender = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (sender < 0) return;
  // A service manager that is busy must not hold up the node.
  ::sendto(sender, message.data(), message.size(), MSG_NOSIGNAL | MSG_DONTWAIT, reinterpret_cast<const sockaddr*>(&address), length);
  ::close(sender);
}

PatientStart::PatientStart(const ServiceManager& manager, Duration at_most) : manager_(manager) {
  if (!manager_.present()) return;
  manager_.ExtendTimeout(kExtension);
  thread_ = std::thread([this, at_most] { Run(at_most); });
}

PatientStart::~PatientStart() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  end_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void PatientStart::Run(Duration at_most) {
  const auto until = std::chrono::steady_clock::now() + at_most;
  std::unique_lock lock(mutex_);
  while (!end_.wait_for(lock, kExtendEvery, [this] { return ended_; }) && std::chrono::steady_clock::now() < until) {
    manager_.ExtendTimeout(kExtension);
  }
}

}  // namespace flotilla
