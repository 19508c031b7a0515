#include "server/daemon/service_manager.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

namespace flotilla {
namespace {

using std::chrono::seconds;
using ::testing::StartsWith;

// Listens as systemd does.
class ServiceManagerTest : public ::testing::Test {
 protected:
  ServiceManagerTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "notify-XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
    path_ = directory_ + "/socket";
    listener_ = ::socket(AF_UNIX, SOCK_DGRAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof(address.sun_path) - 1);
    EXPECT_EQ(::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    const timeval patience{.tv_sec = 10, .tv_usec = 0};
    ::setsockopt(listener_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  }
  ~ServiceManagerTest() override {
    ::close(listener_);
    std::filesystem::remove_all(directory_);
  }

  std::string Heard(int flags = 0) const {
    char buffer[512];
    const ssize_t size = ::recv(listener_, buffer, sizeof(buffer), flags);
    return size < 0 ? "nothing" : std::string(buffer, static_cast<size_t>(size));
  }

  std::string directory_;
  std::string path_;
  int listener_ = -1;
};

TEST_F(ServiceManagerTest, SaysWhatTheNodeDoes) {
  const ServiceManager manager(path_);
  manager.Status("joined as node 2,\n31 led");
  EXPECT_EQ(Heard(), "STATUS=joined as node 2, 31 led");
  manager.Ready();
  EXPECT_EQ(Heard(), "READY=1");
  manager.Alive();
  EXPECT_EQ(Heard(), "WATCHDOG=1");
  manager.ExtendTimeout(seconds(3));
  EXPECT_EQ(Heard(), "EXTEND_TIMEOUT_USEC=3000000");
  manager.Stopping();
  EXPECT_EQ(Heard(), "STOPPING=1");
}

TEST_F(ServiceManagerTest, TakesTheVariablesOutOfTheEnvironment) {
  ::setenv("NOTIFY_SOCKET", path_.c_str(), 1);
  ::setenv("WATCHDOG_USEC", "30000000", 1);
  ::setenv("WATCHDOG_PID", std::to_string(::getpid()).c_str(), 1);
  const ServiceManager manager = ServiceManager::FromEnvironment();
  EXPECT_TRUE(manager.present());
  EXPECT_EQ(manager.watchdog(), seconds(30));
  EXPECT_EQ(std::getenv("NOTIFY_SOCKET"), nullptr);
  EXPECT_EQ(std::getenv("WATCHDOG_USEC"), nullptr);
}

TEST_F(ServiceManagerTest, AWatchdogOfAnotherProcessIsNotOurs) {
  ::setenv("NOTIFY_SOCKET", path_.c_str(), 1);
  ::setenv("WATCHDOG_USEC", "30000000", 1);
  ::setenv("WATCHDOG_PID", "1", 1);
  EXPECT_EQ(ServiceManager::FromEnvironment().watchdog(), std::nullopt);
}

TEST_F(ServiceManagerTest, WithoutOneNothingHappens) {
  ::unsetenv("NOTIFY_SOCKET");
  ::setenv("WATCHDOG_USEC", "30000000", 1);
  const ServiceManager manager = ServiceManager::FromEnvironment();
  EXPECT_FALSE(manager.present());
  EXPECT_EQ(manager.watchdog(), std::nullopt);
  manager.Ready();
  const ServiceManager gone(directory_ + "/nobody");
  gone.Ready();
  EXPECT_EQ(Heard(MSG_DONTWAIT), "nothing");
}

TEST_F(ServiceManagerTest, AStartThatRecoversIsGivenMoreTimeUntilItIsOver) {
  const ServiceManager manager(path_);
  {
    const PatientStart patience(manager, seconds(60));
    EXPECT_THAT(Heard(), StartsWith("EXTEND_TIMEOUT_USEC="));
  }
  EXPECT_EQ(Heard(MSG_DONTWAIT), "nothing");
}

}  // namespace
}  // namespace flotilla
