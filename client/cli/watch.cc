#include "client/cli/watch.h"

#include <thread>

#include "client/cli/exit_codes.h"

namespace flotilla::cli {
namespace {

constexpr Duration kWatchEvery = std::chrono::seconds(1);
constexpr Duration kWatchPiece = std::chrono::milliseconds(50);  // so that an interrupt is noticed

// Asking again, elsewhere or later, may help.
bool MayPass(const client::Error& error) {
  const int code = ExitCodeOf(error);
  return code == kExitCannotConnect || code == kExitTimeout || error.reason() == client::reasons::kNoLeader;
}

}  // namespace

void Pause(Session& session, Duration time) {
  for (Duration slept{}; slept < time && !session.interrupted(); slept += kWatchPiece) std::this_thread::sleep_for(kWatchPiece);
}

int WatchProgress(Session& session, const std::string& stuck, const std::function<Look()>& look) {
  const SystemClock clock;
  MonotonicTime changed_at = clock.Now();
  std::string mark;
  std::string line;
  while (true) {
    const Look now = look();
    if (now.error.ok() && (now.mark != mark || line.empty())) changed_at = clock.Now();
    if (now.error.ok()) mark = now.mark;
    const std::string text = now.error.ok() ? now.line : now.error.ToString();
    if (!text.empty() && text != line) session.ShowProgress(text);
    line = text;
    if (!now.error.ok() && !MayPass(now.error)) return session.EndProgress(), session.Fail(now.error);
    if (now.end) return session.EndProgress(), *now.end;
    if (clock.Now() - changed_at >= session.timeout()) {
      session.EndProgress();
      if (!now.error.ok()) return session.Fail(now.error);
      session.Say("nothing changed for " + session.options.timeout + ": " + line + "; " + stuck);
      return kExitTimeout;
    }
    Pause(session, kWatchEvery);
    if (session.interrupted()) return session.EndProgress(), kExitInterrupted;
  }
}

}  // namespace flotilla::cli
