// Layer and RMS norm in f32.
#include <loupe/core/cpu.h>
#include <loupe/core/kernels/norm/fast.h>
#include <loupe/core/threads.h>

#include <algorithm>
#include <cmath>

namespace loupe::kernels {
namespace {

constexpr int64_t kPiece = 1 << 14;  // numbers of a forward piece, about
constexpr int64_t kPieces = 8;       // at most, of backward: each keeps sums for gamma and beta
constexpr int64_t kFour = 4;         // rows that backward takes at once
constexpr int64_t kChunk = 128;      // rows whose gamma and beta sums stay in float
constexpr int64_t kSumLanes = 64;    // of a row's sum: 4 vectors of the widest set

/// A sum over i < d in 64 lanes, joined in a fixed order; add(sum, i) gives the sum with term i.
///
///   lanes 0 .. 63    i = 0 .. 63, then 64 .. 127, ...
///         16         a = lane[j] + lane[j + 16] + lane[j + 32] + lane[j + 48]
///          4         b = a[j] + a[j + 4] + a[j + 8] + a[j + 12]
///          1         b[0] + b[1] + b[2] + b[3]
template <class F> inline float row_sum(int64_t d, const F& add) {
  float lane[kSumLanes];
#pragma omp simd
  for (int64_t j = 0; j < kSumLanes; ++j) lane[j] = 0;
  int64_t i = 0;
  for (; i + kSumLanes <= d; i += kSumLanes) {
#pragma omp simd
    for (int64_t j = 0; j < kSumLanes; ++j) lane[j] = add(lane[j], i + j);
  }
  const int64_t left = d - i;
#pragma omp simd
  for (int64_t j = 0; j < left; ++j) lane[j] = add(lane[j], i + j);
  float a[16];
#pragma omp simd
  for (int64_t j = 0; j < 16; ++j) a[j] = (lane[j] + lane[j + 16]) + (lane[j + 32] + lane[j + 48]);
  float b[4];
#pragma omp simd
  for (int64_t j = 0; j < 4; ++j) b[j] = (a[j] + a[j + 4]) + (a[j + 8] + a[j + 12]);
  return (b[0] + b[1]) + (b[2] + b[3]);
}

/// Rows of a forward piece.
int64_t forward_grain(int64_t d) { return std::max<int64_t>(kPiece / std::max<int64_t>(d, 1), 1); }
/// Rows of a backward piece, a multiple of four where there are several.
int64_t backward_grain(int64_t rows, int64_t d) {
  const int64_t share = (rows + kPieces - 1) / kPieces;
  return std::max(forward_grain(d), (share + kFour - 1) / kFour * kFour);
}
/// d rounded up to whole cache lines of floats.
int64_t padded(int64_t d) { return (d + 15) / 16 * 16; }

/// What a forward piece reads and writes.
struct Forward {
  RowNormInput<float> in;
  double eps;
  float* y;
  RowStats<float> stats;
};

// One row by sums in double. Not inlined: it is rare, and the common row's loop keeps its
// registers.
[[gnu::noinline]] void careful_row(const Forward& f, int64_t r) {
  RowNormInput<float> row = f.in;
  row.rows = 1;
  row.x += r * row.d;
  plain::row_norm(row, f.eps, f.y + r * row.d, {f.stats.mean + r, f.stats.rstd + r});
}

/// y of a row whose statistics are known.
template <class Level>
inline void scale_row(const Forward& f, int64_t r, float mean, float rstd, Level level) {
  const int64_t d = f.in.d;
  const float *x = f.in.x + r * d, *gamma = f.in.gamma, *beta = f.in.beta;
  float* y = f.y + r * d;
  if (gamma && beta) {
#pragma omp simd
    for (int64_t i = 0; i < d; ++i)
      y[i] = level.multiply_add((x[i] - mean) * rstd, gamma[i], beta[i]);
  } else if (gamma) {
#pragma omp simd
    for (int64_t i = 0; i < d; ++i) y[i] = (x[i] - mean) * rstd * gamma[i];
  } else if (beta) {
#pragma omp simd
    for (int64_t i = 0; i < d; ++i) y[i] = level.multiply_add(x[i] - mean, rstd, beta[i]);
  } else {
#pragma omp simd
    for (int64_t i = 0; i < d; ++i) y[i] = (x[i] - mean) * rstd;
  }
}

template <bool kCentre> void forward_range(const Forward& call, int64_t begin, int64_t end) {
  simd([=, f = call](auto level) {
    const int64_t d = f.in.d;
    const double inverse = 1 / static_cast<double>(d);
    const double blur = 0x1p-24 * static_cast<double>(d + 1024);  // 64 times the mean's rounding
    for (int64_t r = begin; r < end; ++r) {
      const float* x = f.in.x + r * d;
      float mean = 0;
      if (kCentre) {
        const float total = row_sum(d, [=](float sum, int64_t i) { return sum + x[i]; });
        mean = static_cast<float>(double(total) * inverse);
      }
      const float squares = row_sum(d, [=](float sum, int64_t i) {
        const float off = x[i] - mean;
        return level.multiply_add(off, off, sum);
      });
      // Deviations of the size of the mean's rounding, as of equal elements: again, with sums in
      // double.
      const double tiny = blur * double(mean) * blur * double(mean);
      if (kCentre && double(squares) * inverse < tiny) {
        careful_row(f, r);
        continue;
      }
      const auto rstd = static_cast<float>(1 / std::sqrt(double(squares) * inverse + f.eps));
      if (kCentre) f.stats.mean[r] = mean;
      f.stats.rstd[r] = rstd;
      scale_row(f, r, mean, rstd, level);
    }
  });
}

/// What a backward piece reads and writes; gamma is never nullptr.
struct Backward {
  int64_t d;
  const float *x, *dy, *gamma, *mean, *rstd;
  float* dx;
};

/// The numbers of a row that its dx is made of: dx = (g - mean_g - xhat mean_gx) rstd, where g =
/// gamma dy and xhat = (x - mean) rstd.
struct RowTerms {
  float mean, rstd, mean_g, mean_gx;
};

template <bool kCentre, class Level>
inline RowTerms row_terms(const Backward& b, int64_t r, Level level) {
  const int64_t d = b.d;
  const float *x = b.x + r * d, *dy = b.dy + r * d, *gamma = b.gamma;
  const float mean = kCentre ? b.mean[r] : 0, rstd = b.rstd[r];
  const float inverse = 1 / static_cast<float>(d);
  float mean_g = 0;
  if (kCentre) {
    const float total =
        row_sum(d, [=](float sum, int64_t i) { return level.multiply_add(dy[i], gamma[i], sum); });
    mean_g = total * inverse;
  }
  const float total_gx = row_sum(d, [=](float sum, int64_t i) {
    return level.multiply_add(dy[i] * gamma[i], x[i] - mean, sum);
  });
  return {mean, rstd, mean_g, total_gx * inverse * rstd};
}

/// dx of kRows rows from r on; adds the rows' parts of dgamma and dbeta. Four rows at once are
/// written out: gamma, dgamma and dbeta are then read once for all of them.
template <bool kCentre, int kRows, class Level>
inline void backward_rows(const Backward& b, int64_t r, float* dgamma, float* dbeta, Level level) {
  const int64_t d = b.d;
  const float *x = b.x + r * d, *dy = b.dy + r * d, *gamma = b.gamma;
  float* dx = b.dx + r * d;
  RowTerms rows[kRows];
  for (int u = 0; u < kRows; ++u) rows[u] = row_terms<kCentre>(b, r + u, level);
  // dx of column i in row u; adds its parts of dgamma and dbeta.
  const auto one = [=](int64_t i, int64_t u, RowTerms t, float& to_dgamma, float& to_dbeta) {
    const float xhat = (x[u * d + i] - t.mean) * t.rstd;
    const float up = dy[u * d + i];
    const float g = up * gamma[i];
    dx[u * d + i] = level.multiply_add(xhat, -t.mean_gx, kCentre ? g - t.mean_g : g) * t.rstd;
    to_dgamma = level.multiply_add(up, xhat, to_dgamma);
    to_dbeta += up;
  };
  if constexpr (kRows == kFour) {
    const RowTerms t0 = rows[0], t1 = rows[1], t2 = rows[2], t3 = rows[3];
#pragma omp simd
    for (int64_t i = 0; i < d; ++i) {
      float left = 0, right = 0, sum_dy = 0;  // two short chains of sums for dgamma
      one(i, 0, t0, left, sum_dy);
      one(i, 1, t1, left, sum_dy);
      one(i, 2, t2, right, sum_dy);
      one(i, 3, t3, right, sum_dy);
      dgamma[i] += left + right;
      dbeta[i] += sum_dy;
    }
  } else {
    const RowTerms t0 = rows[0];
#pragma omp simd
    for (int64_t i = 0; i < d; ++i) {
      float sum_dgamma = 0, sum_dy = 0;
      one(i, 0, t0, sum_dgamma, sum_dy);
      dgamma[i] += sum_dgamma;
      dbeta[i] += sum_dy;
    }
  }
}

/// dx of the rows [begin, end). totals (2 d) receive their sums for dgamma and dbeta, chunk by
/// chunk through `floats` (2 d).
template <bool kCentre>
void backward_range(const Backward& call, int64_t begin, int64_t end, float* floats,
                    double* totals) {
  simd([=, b = call](auto level) {
    const int64_t d = b.d;
    float *dgamma = floats, *dbeta = floats + d;
    for (int64_t first = begin; first < end; first += kChunk) {
      const int64_t stop = std::min(end, first + kChunk);
      std::fill_n(dgamma, 2 * d, 0.0F);
      int64_t r = first;
      for (; r + kFour <= stop; r += kFour)
        backward_rows<kCentre, kFour>(b, r, dgamma, dbeta, level);
      for (; r < stop; ++r) backward_rows<kCentre, 1>(b, r, dgamma, dbeta, level);
#pragma omp simd
      for (int64_t i = 0; i < 2 * d; ++i) totals[i] += double(dgamma[i]);
    }
  });
}

/// Scratch of backward: for each piece 2 d doubles and 2 d floats, then a gamma of ones.
struct Workspace {
  int64_t grain, pieces, stride;
  double* data;

  Workspace(int64_t rows, int64_t d, double* scratch)
      : grain(backward_grain(rows, d)),
        pieces((rows + grain - 1) / grain),
        stride(3 * padded(d)),
        data(scratch) {}
  double* totals(int64_t piece) const { return data + piece * stride; }
  float* floats(int64_t piece, int64_t d) const {
    return reinterpret_cast<float*>(totals(piece) + 2 * padded(d));
  }
  float* ones() const { return reinterpret_cast<float*>(totals(pieces)); }
};

/// dgamma and dbeta: the pieces' totals added in order.
void add_totals(const Workspace& room, int64_t d, const NormGradients<float>& to) {
  constexpr int64_t kColumns = 2048;  // of a piece
  parallel_ranges(d, kColumns, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      double dgamma = 0, dbeta = 0;
      for (int64_t p = 0; p < room.pieces; ++p) {
        dgamma += room.totals(p)[i];
        dbeta += room.totals(p)[d + i];
      }
      if (to.dgamma) to.dgamma[i] = static_cast<float>(dgamma);
      if (to.dbeta) to.dbeta[i] = static_cast<float>(dbeta);
    }
  });
}

}  // namespace

void fast::row_norm(const RowNormInput<float>& in, double eps, float* y,
                    const RowStats<float>& stats) {
  const auto run = stats.mean ? forward_range<true> : forward_range<false>;
  parallel_ranges(in.rows, forward_grain(in.d), [&](int64_t begin, int64_t end) {
    run({in, eps, y, stats}, begin, end);
  });
}

void fast::row_norm_backward(const RowNormInput<float>& in, const RowStats<const float>& stats,
                             const NormGradients<float>& to, double* scratch) {
  const int64_t d = in.d;
  const Workspace room(in.rows, d, scratch);
  if (!in.gamma) std::fill_n(room.ones(), d, 1.0F);
  const float* const gamma = in.gamma ? in.gamma : room.ones();
  const Backward call{d, in.x, to.dy, gamma, stats.mean, stats.rstd, to.dx};
  const auto run = stats.mean ? backward_range<true> : backward_range<false>;
  parallel_ranges(in.rows, room.grain, [&](int64_t begin, int64_t end) {
    const int64_t piece = begin / room.grain;
    std::fill_n(room.totals(piece), 2 * d, 0.0);
    run(call, begin, end, room.floats(piece, d), room.totals(piece));
  });
  if (to.dgamma || to.dbeta) add_totals(room, d, to);
}

int64_t row_norm_scratch(int64_t rows, int64_t d) {
  const Workspace room(rows, d, nullptr);
  return room.pieces * room.stride + padded(d) / 2;
}

}  // namespace loupe::kernels
