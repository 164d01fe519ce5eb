#pragma once
// Counter-based random numbers (Philox4x32-10: Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3", 2011).
#include <array>
#include <cstdint>
#include <span>

namespace loupe {

/// A random stream: 16 bytes of state that can be seen, saved and restored. Word i of a stream is
/// philox(key, counter + i / 4)[i % 4], so that pieces of an op draw in parallel and a result
/// never depends on the thread count. There is no global generator: whoever draws is handed an Rng.
class Rng {
 public:
  struct State {
    uint64_t key = 0;
    uint64_t counter = 0;
    friend bool operator==(const State&, const State&) = default;
  };

  explicit Rng(uint64_t seed = 0) : state_{seed, 0} {}
  State state() const { return state_; }
  void set_state(State s) { state_ = s; }

  /// An independent stream: another key, derived from this one's next block.
  Rng split();
  /// Reserves `words` 32-bit words and returns the counter of the first block of four.
  /// An op calls this before its pieces start; word i is philox(key, first + i / 4)[i % 4].
  uint64_t reserve(int64_t words);

  /// The next word, taking a whole block of four.
  uint32_t next_u32();
  uint64_t next_u64();
  /// Uniform in [0, 1), 53 bits.
  double uniform();
  /// Standard normal (Box-Muller).
  double normal();
  /// Uniform integer in [low, high) without bias; ValueError if the range is empty.
  int64_t integer(int64_t low, int64_t high);
  /// The same numbers as so many calls of integer(), in a fraction of the time.
  void integers(int64_t low, int64_t high, std::span<int64_t> out);

 private:
  State state_;
};

/// The block function: four words from a key and a counter.
std::array<uint32_t, 4> philox(uint64_t key, uint64_t counter);

/// Fills out[0..n) with the words of blocks first, first + 1, ... : the fast form, several blocks
/// at a time.
void philox_fill(uint64_t key, uint64_t first, uint32_t* out, int64_t n);

}  // namespace loupe
