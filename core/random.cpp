#include <loupe/core/cpu.h>
#include <loupe/core/dmath.h>
#include <loupe/core/error.h>
#include <loupe/core/random.h>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace loupe {
namespace {

constexpr uint32_t kMul0 = 0xD2511F53u, kMul1 = 0xCD9E8D57u, kWeyl0 = 0x9E3779B9u,
                   kWeyl1 = 0xBB67AE85u;

}  // namespace

std::array<uint32_t, 4> philox(uint64_t key, uint64_t counter) {
  uint32_t c0 = static_cast<uint32_t>(counter), c1 = static_cast<uint32_t>(counter >> 32), c2 = 0,
           c3 = 0;
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{kMul0} * c0, p1 = uint64_t{kMul1} * c2;
    const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0,
                   n2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
  return {c0, c1, c2, c3};
}

void philox_fill(uint64_t key, uint64_t first, uint32_t* out, int64_t n) {
  // Words live in 64-bit lanes, so that a round's product is one vector multiply; 64 counters go
  // through together.
  constexpr int kBlocks = 64;
  for (int64_t done = 0; done < n; done += 4 * kBlocks) {
    uint64_t pairs[2 * kBlocks];  // two words each: x86 is little-endian
    uint64_t* const to = pairs;
    simd([=] {
      constexpr uint64_t kLow = 0xffffffffu;
      const uint64_t base = first + static_cast<uint64_t>(done / 4);
#pragma omp simd
      for (int i = 0; i < kBlocks; ++i) {
        const uint64_t counter = base + static_cast<uint64_t>(i);
        uint64_t a = counter & kLow, b = counter >> 32, c = 0, d = 0;
        uint64_t k0 = key & kLow, k1 = key >> 32;
#pragma GCC unroll 10
        for (int round = 0; round < 10; ++round) {
          const uint64_t p0 = kMul0 * a, p1 = kMul1 * c;
          a = (p1 >> 32) ^ b ^ k0;
          b = p1 & kLow;
          c = (p0 >> 32) ^ d ^ k1;
          d = p0 & kLow;
          k0 = (k0 + kWeyl0) & kLow;
          k1 = (k1 + kWeyl1) & kLow;
        }
        to[2 * i] = a | b << 32;
        to[2 * i + 1] = c | d << 32;
      }
    });
    const int64_t count = std::min<int64_t>(4 * kBlocks, n - done);
    std::memcpy(out + done, pairs, static_cast<size_t>(count) * sizeof(uint32_t));
  }
}

uint64_t Rng::reserve(int64_t words) {
  const uint64_t first = state_.counter;
  state_.counter += (static_cast<uint64_t>(std::max<int64_t>(words, 0)) + 3) / 4;
  return first;
}

uint32_t Rng::next_u32() { return philox(state_.key, reserve(1))[0]; }

uint64_t Rng::next_u64() {
  const auto w = philox(state_.key, reserve(2));
  return uint64_t{w[0]} << 32 | w[1];
}

double Rng::uniform() { return static_cast<double>(next_u64() >> 11) * 0x1p-53; }

double Rng::normal() {
  const auto w = philox(state_.key, reserve(4));
  const double u =
      (static_cast<double>((uint64_t{w[0]} << 32 | w[1]) >> 11) + 1.0) * 0x1p-53;  // (0, 1]
  const double v = static_cast<double>((uint64_t{w[2]} << 32 | w[3]) >> 11) * 0x1p-53;
  return std::sqrt(-2.0 * dmath::log(u)) * dmath::sincos_turns(v).cos;
}

int64_t Rng::integer(int64_t low, int64_t high) {
  int64_t value = 0;
  integers(low, high, {&value, 1});
  return value;
}

void Rng::integers(int64_t low, int64_t high, std::span<int64_t> out) {
  if (low >= high) fail<ValueError>("Rng::integer: the range [{}, {}) is empty", low, high);
  const uint64_t range = static_cast<uint64_t>(high) - static_cast<uint64_t>(low);
  for (size_t i = 0; i < out.size();) {
    uint32_t words[256];
    const size_t blocks = std::min<size_t>(out.size() - i, 64);
    if (blocks == 1) {
      const auto four = philox(state_.key, reserve(4));
      std::copy(four.begin(), four.end(), words);
    } else {
      philox_fill(state_.key, reserve(static_cast<int64_t>(4 * blocks)), words,
                  static_cast<int64_t>(4 * blocks));
    }
    for (size_t k = 0; k < blocks; ++k) {
      const uint64_t word = uint64_t{words[4 * k]} << 32 | words[4 * k + 1];
      // Words from the last multiple of range on would favour small values; that multiple is rarely
      // worth a division.
      if (word >= ~range && word >= ~uint64_t{0} - ~uint64_t{0} % range) continue;
      out[i++] = static_cast<int64_t>(static_cast<uint64_t>(low) + word % range);
    }
  }
}

Rng Rng::split() { return Rng(next_u64()); }

}  // namespace loupe
