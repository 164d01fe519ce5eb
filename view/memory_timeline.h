#pragma once
// What lies in memory when, and for what: a timeline of every block of tensor memory by its use,
// and what was alive at the peak. Profile and see() draw it.
#include <loupe/autograd/graph.h>
#include <loupe/core/memory.h>
#include <loupe/core/named.h>

#include <array>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace loupe {

/// What a block of memory is for.
enum class MemoryUse {
  parameters,
  gradients,    // of parameters
  optimizer,    // its state: momentum, squares, ...
  activations,  // what ops keep for the backward pass, parameters left out
  temporary,    // what else was made since the timeline began
  other,        // what lived before and is none of the above: data, buffers, other models
};
inline constexpr size_t kMemoryUses = 6;
/// "parameters", "gradients", ...
const char* to_string(MemoryUse use);

/// Bytes in tensors at one moment, by use.
struct MemoryPoint {
  double time = 0;  // seconds since the timeline began
  std::array<int64_t, kMemoryUses> bytes = {};
  int64_t of(MemoryUse use) const { return bytes[static_cast<size_t>(use)]; }
  int64_t live() const;
};

/// Blocks that were alive at the peak and that one line of the program made.
struct AliveAtPeak {
  MemoryUse use = MemoryUse::temporary;
  /// The op that made them, or "optimizer step", "load batch"; the name of a parameter; "(made
  /// before)" if they are older than the timeline; "(another thread)".
  std::string op;
  std::string module;  // the path of the op's module
  std::string line;    // "train.cpp:41"; empty where no op made them
  int64_t bytes = 0, blocks = 0;
};

/// Follows the blocks of all threads while it lives. It hears of their birth and death by itself;
/// who owns it says what they are for. A block that a parameter, a gradient or an optimizer is
/// found to have counts as theirs from its birth on.
class MemoryTimeline : public MemoryWatch {
 public:
  /// Who made a block.
  struct Maker {
    std::string op, module, line;
  };
  MemoryTimeline();
  ~MemoryTimeline() override { stop(); }

  /// What this thread has allocated since the last call was made by one op. Returns its number.
  int made_by(Maker maker);
  /// Says more of a maker whose name was not known yet.
  void name(int maker, Maker known);
  /// The block belongs to a parameter, a gradient or an optimizer's state.
  void belongs(const Storage& block, MemoryUse use, const std::string& name = "");
  /// The op of this maker keeps the block for the backward pass; several may.
  void kept(const Storage& block, int maker);
  /// One of the ops that kept it does no more.
  void let_go(const Storage& block);
  /// A point of the timeline: one for the moment now, and one for the most that was live since the
  /// point before, if that was more.
  void mark();

  /// The marked points, in order.
  std::vector<MemoryPoint> points() const;
  /// The point with the most bytes.
  MemoryPoint peak() const;
  /// What was alive then, the largest first; what lived before the timeline and belongs to nobody
  /// is left out. The bytes of a block that activations share count once.
  std::vector<AliveAtPeak> alive_at_peak() const;

  /// Bytes that ops kept for the backward pass when they kept most, and which op was the first to
  /// keep how much of them.
  struct Kept {
    int64_t bytes = 0;
    std::vector<std::pair<Maker, int64_t>> by = {};
  };
  Kept most_kept() const;

  void allocated(const Storage& block) override;
  void freed(const Storage& block) override;

 private:
  struct Block {
    int64_t bytes = 0;
    MemoryUse use = MemoryUse::temporary;  // activations while an op keeps it
    int maker = -1;
    std::string name = {};
  };
  enum class What : uint8_t { born, died, kept, let_go, mark };
  struct Event {
    double time;
    int64_t live;  // in all tensors, after it
    int block;
    int keeper;  // the maker of the op that keeps it
    What what;
  };
  // The state of a walk over the events.
  struct Walk;
  template <class Each> void walk(const Each& each) const;
  int number_of(const Storage& block);
  void note(What what, int block, int64_t live, int keeper = -1);

  mutable std::mutex mutex_;
  const std::thread::id thread_;
  const double begin_;
  std::vector<Block> blocks_;
  std::vector<int> before_;  // blocks that lived when the timeline began
  std::unordered_map<const Storage*, int> alive_;
  std::vector<Event> events_;
  std::vector<int> unnamed_;  // blocks of this thread whose maker is still to be told
  std::vector<Maker> makers_;
};

namespace detail {
// Tells a timeline which blocks are parameters (leaves that need a gradient, as ops read them),
// their gradients, and the state of their optimizer.
class UsesOfLeaves {
 public:
  explicit UsesOfLeaves(MemoryTimeline& memory) : memory_(memory) {}
  void know(const Named& parameter);
  void read(const Tensor& input);
  void find_gradients();
  void trained(const Named& parameter, std::span<const Tensor> state);

 private:
  struct Leaf {
    std::weak_ptr<GradMeta> meta;
    std::string name;
  };
  MemoryTimeline& memory_;
  std::unordered_map<const GradMeta*, Leaf> leaves_;
};

// What an op keeps for the backward pass, parameters left out; and that its rule has run.
void keeps(MemoryTimeline& memory, const Node& node, int maker);
void lets_go(MemoryTimeline& memory, const Node& node);
}  // namespace detail

/// The peak in words, at most 80 columns: how much by use, and the `most` largest groups alive.
std::string peak_in_words(const MemoryTimeline& memory, size_t most = 8);

}  // namespace loupe
