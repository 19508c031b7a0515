// The sanitizers ask the program for their options by these names. Environment variables (ASAN_OPTIONS=...)
// still win.
extern "C" {

const char* __asan_default_options();
const char* __ubsan_default_options();
const char* __lsan_default_suppressions();
const char* __tsan_default_options();
const char* __tsan_default_suppressions();

const char* __asan_default_options() { return "strict_string_checks=1:detect_stack_use_after_return=1:check_initialization_order=1"; }

const char* __ubsan_default_options() { return "print_stacktrace=1"; }

// RocksDB 7.8 forgets the memtable that it has just made when its manifest cannot be written.
const char* __lsan_default_suppressions() { return "leak:rocksdb::DBImpl::SwitchMemtable\n"; }

// The history must reach back to the earlier of two racing accesses, or the report lacks its stack.
const char* __tsan_default_options() { return "halt_on_error=1:second_deadlock_stack=1:history_size=4"; }

// Debian's libraries are not instrumented: TSan sees their locks, system calls and memcpy, but not the
// atomics that order them. The memory they touch on their own is left out (libstdc++: it runs std::string for
// RocksDB); what our code touches is still watched. tsan.map is the other half of this.
//
// RocksDB hands its files and directories from thread to thread, and waits for the last call to a listener before it is closed, under
// locks that are not seen. The objects it does that with are ours, and so are left out: those of the two file systems (WalFile,
// WalFileSystem, Fault...), with what they inherit, and the engine's listener.
//
// gRPC and what it stands on call our code from their threads, so what they do there is not left out as a whole: only where memory of
// their own is touched (a library's name stands for the innermost frame: others of it are not seen; a reactor's functions are called by
// ours, to begin something, and the memory is gRPC's part of the reactor). called_from_lib is for what they pass to sendmsg, memcpy and
// free: with it the tool does not even look, where it would otherwise make a report for each word of a message of some MiB and drop it.
//
// cpp-httplib guards its tables of content types and such, which are made by the first request, with what the tool does not see.
const char* __tsan_default_suppressions() {
  return "called_from_lib:librocksdb.so\n"
         "called_from_lib:libglog.so\n"
         "called_from_lib:libstdc++.so\n"
         "called_from_lib:libgrpc.so\n"
         "called_from_lib:libgrpc++.so\n"
         "called_from_lib:libabsl_status.so\n"
         "called_from_lib:libprotobuf.so\n"
         "race:flotilla::storage::Fault\n"
         "race:flotilla::storage::WalFile\n"
         "race:rocksdb::FSWritableFile\n"
         "race:rocksdb::FileSystemWrapper\n"
         "race:flotilla::storage::EngineListener\n"
         "race:libabsl_\n"
         "race:libgpr.so\n"
         "race:libgrpc\n"
         "race:libprotobuf\n"
         "race:libupb\n"
         "race:libcpp-httplib\n"
         "race:^grpc::Server*Reactor<*>::\n"
         "race:^grpc::Client*Reactor<*>::\n";
}

}  // extern "C"
