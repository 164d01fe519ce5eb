#pragma once
// The profile: where the time of a step goes, by op and by module, forward and backward apart; how
// near it comes to what the machine can do; and which memory is alive when.
//
//   Profile profile;
//   for (int step = 0; step < 10; ++step) train_step();
//   std::cout << profile.table();
//   profile.save_trace("trace.json");     // open it in ui.perfetto.dev or chrome://tracing
#include <loupe/autograd/watch.h>
#include <loupe/view/memory_timeline.h>

#include <map>
#include <string>
#include <span>
#include <unordered_map>
#include <vector>

namespace loupe {

/// One direction of an op: what all its calls took together.
struct ProfileCost {
  int64_t calls = 0;
  double seconds = 0;
  /// Of the plain algorithm: two for each pair of a multiplication and an addition of products and
  /// convolutions, one for each number that another op gives. Winograd's algorithm needs fewer.
  double flops = 0;
  /// Bytes of the tensors read and written: the least that has to move.
  double bytes = 0;
  /// Seconds of all threads together: seconds times the threads that were busy.
  double thread_seconds = 0;
  void add(const ProfileCost& other);
};

/// The rows of a profile's table.
struct ProfileRow {
  std::string name;  // the op, or the module's path
  ProfileCost forward, backward;
  std::string kernel;  // that took the longest call forward, where the op has several
  /// Bytes that its ops kept for backward, at the moment when all ops together kept most.
  int64_t kept = 0;
  double seconds() const { return forward.seconds + backward.seconds; }
  /// How many threads were busy, on the average of its time.
  double threads() const {
    return seconds() > 0 ? (forward.thread_seconds + backward.thread_seconds) / seconds() : 0;
  }
};

/// Measures the ops of its thread while it lives. It adds about 1 us to each op and its rule.
class Profile : public Watch {
 public:
  Profile();

  /// By op and by module path, the longest first. The path "" is what ran outside modules.
  std::vector<ProfileRow> ops();
  std::vector<ProfileRow> modules();
  /// Seconds of stretches that are no op, by name: "load batch", "optimizer step".
  std::map<std::string, double> stretches() const { return stretches_; }
  /// Seconds from its beginning to the end of the last op or stretch that it heard of.
  double seconds() const { return end_ - begin_; }
  /// Memory by use, after every op and at its highest in between; and what was alive at the peak.
  const MemoryTimeline& memory();

  /// The table, in 80 columns: ops, modules and the rest, with time, share, GFLOP/s, GB/s and
  /// the threads that were busy.
  /// `peak`: GFLOP/s of the machine at this number of threads (measure_peak()); 0 leaves the share
  /// of it out.
  std::string table(double peak = 0);

  /// Writes every call as a Chrome trace: forward and backward of an op joined by an arrow,
  /// counters of memory by use and of busy threads. IoError if the file cannot be written.
  void save_trace(const std::string& path);

  void forward(const OpRun& run) override;
  void backward(const RuleRun& run) override;
  void stretch(const char* name, Span time) override;
  void trained(const Named& parameter, std::span<const Tensor> state) override;

 private:
  struct Event {
    std::string name, path, site, shape;
    const char* kernel = "";
    Span time;
    double threads = 1;
    uint64_t birth = 0;  // of the op's Node; 0 for a stretch
    bool forward = true;
  };
  struct Key {
    const char* op;
    int path;
    auto operator<=>(const Key&) const = default;
  };
  struct Cost {
    ProfileCost forward, backward;
    const char* kernel = "";
    double longest = 0;
  };
  std::vector<ProfileRow> rows(bool by_module);
  void finish_last();
  void ended(double time);

  double begin_, end_;
  std::map<Key, Cost> costs_;
  std::map<std::string, double> stretches_;
  std::vector<Event> events_;
  MemoryTimeline memory_;
  detail::UsesOfLeaves leaves_{memory_};
  // The op that ran last: it is counted at the next event.
  struct Last {
    std::shared_ptr<Node> node;
    std::vector<Shape> inputs;
    double bytes = 0;
    const char* kernel = "";
    Span time;
    double threads = 1;
    int maker = 0;  // of what it allocated, in memory_
  };
  Last last_;
  std::unordered_map<uint64_t, double> forward_flops_;  // by birth, of ops whose rule may come
};

/// FLOPs of one call forward, as ProfileCost counts them, from the shapes of the op's inputs.
double op_flops(const Node& node, const std::vector<Shape>& inputs);

/// GFLOP/s that a product of two f32 matrices of 1024 x 1024 reaches with the threads in use: the
/// best of several rounds, about a tenth of a second. No Watch hears of it.
double measure_peak();

}  // namespace loupe
