#include <loupe/core/cpu.h>
#include <loupe/core/kernels/norm/plain.h>
#include <loupe/core/threads.h>

namespace loupe::kernels {
namespace {

constexpr int64_t kLanes = 64;

/// A sum over i < d in 64 lanes, folded in a fixed order; add(sum, i) gives the sum with term i.
template <class F> inline float lane_sum(int64_t d, const F& add) {
  float acc[kLanes];
#pragma omp simd
  for (int64_t j = 0; j < kLanes; ++j) acc[j] = 0;
  int64_t i = 0;
  for (; i + kLanes <= d; i += kLanes) {
#pragma omp simd
    for (int64_t j = 0; j < kLanes; ++j) acc[j] = add(acc[j], i + j);
  }
  const int64_t left = d - i;
#pragma omp simd
  for (int64_t j = 0; j < left; ++j) acc[j] = add(acc[j], i + j);
  float sixteen[16];
#pragma omp simd
  for (int64_t j = 0; j < 16; ++j)
    sixteen[j] = (acc[j] + acc[j + 16]) + (acc[j + 32] + acc[j + 48]);
  float four[4];
#pragma omp simd
  for (int64_t j = 0; j < 4; ++j)
    four[j] = (sixteen[j] + sixteen[j + 4]) + (sixteen[j + 8] + sixteen[j + 12]);
  return (four[0] + four[1]) + (four[2] + four[3]);
}

/// Rows of a piece of the forward.
int64_t forward_grain(int64_t d) {
  return std::max<int64_t>((1 << 14) / std::max<int64_t>(d, 1), 1);
}
/// Rows of a piece of the backward: at most 8 pieces, because each keeps sums of its own for gamma
/// and beta.
int64_t backward_grain(int64_t rows, int64_t d) {
  return std::max(forward_grain(d), ((rows + 7) / 8 + 3) / 4 * 4);
}
int64_t padded(int64_t d) { return (d + 15) / 16 * 16; }

constexpr int64_t kBlock = 128;  // rows whose gamma and beta sums stay in float

struct RowGradient {
  const float *x, *dy;
  float* dx;
  const float *gamma, *mean, *rstd;
  int64_t d;
};

/// dx of kRows rows from r on; adds the rows' parts of dgamma and dbeta to dg and db.
template <bool kCentre, int kRows, class Level>
inline void backward_rows(const RowGradient& a, int64_t r, float* dg, float* db, Level level) {
  const int64_t d = a.d;
  const float *x = a.x + r * d, *dy = a.dy + r * d, *gamma = a.gamma;
  float* dx = a.dx + r * d;
  float m[kRows], rs[kRows], mean_g[kRows], mean_gx[kRows];
  for (int u = 0; u < kRows; ++u) {
    const float *p = x + u * d, *q = dy + u * d;
    const float centre = kCentre ? a.mean[r + u] : 0, inv = 1 / static_cast<float>(d);
    m[u] = centre, rs[u] = a.rstd[r + u];
    mean_g[u] =
        kCentre ? lane_sum(d, [=](float sum,
                                  int64_t i) { return level.multiply_add(q[i], gamma[i], sum); }) *
                      inv
                : 0;
    mean_gx[u] = lane_sum(d,
                          [=](float sum, int64_t i) {
                            return level.multiply_add(q[i] * gamma[i], p[i] - centre, sum);
                          }) *
                 inv * rs[u];
  }
  // dx of one number; adds its parts of dgamma and dbeta.
  const auto one = [=](int64_t i, int64_t u, float centre, float r_u, float g_u, float gx_u,
                       float& dgamma, float& dbeta) {
    const float xhat = (x[u * d + i] - centre) * r_u, up = dy[u * d + i], g = up * gamma[i];
    dx[u * d + i] = level.multiply_add(xhat, -gx_u, kCentre ? g - g_u : g) * r_u;
    dgamma = level.multiply_add(up, xhat, dgamma);
    dbeta += up;
  };
  // Written out for four rows at once: gamma, dg and db are then read once for all of them.
  if constexpr (kRows == 4) {
    const float m0 = m[0], m1 = m[1], m2 = m[2], m3 = m[3], r0 = rs[0], r1 = rs[1], r2 = rs[2],
                r3 = rs[3];
    const float g0 = mean_g[0], g1 = mean_g[1], g2 = mean_g[2], g3 = mean_g[3];
    const float h0 = mean_gx[0], h1 = mean_gx[1], h2 = mean_gx[2], h3 = mean_gx[3];
#pragma omp simd
    for (int64_t i = 0; i < d; ++i) {
      float left = 0, right = 0, dbeta = 0;  // two short chains of sums for dgamma
      one(i, 0, m0, r0, g0, h0, left, dbeta);
      one(i, 1, m1, r1, g1, h1, left, dbeta);
      one(i, 2, m2, r2, g2, h2, right, dbeta);
      one(i, 3, m3, r3, g3, h3, right, dbeta);
      dg[i] += left + right;
      db[i] += dbeta;
    }
  } else {
    const float m0 = m[0], r0 = rs[0], g0 = mean_g[0], h0 = mean_gx[0];
#pragma omp simd
    for (int64_t i = 0; i < d; ++i) {
      float dgamma = 0, dbeta = 0;
      one(i, 0, m0, r0, g0, h0, dgamma, dbeta);
      dg[i] += dgamma;
      db[i] += dbeta;
    }
  }
}

template <bool kCentre>
void backward_range(const RowGradient& a, int64_t begin, int64_t end, float* sums, double* totals) {
  simd([=](auto level) {
    const int64_t d = a.d;
    for (int64_t first = begin; first < end; first += kBlock) {
      const int64_t stop = std::min(end, first + kBlock);
      float *dg = sums, *db = sums + d;
      std::fill_n(dg, 2 * d, 0.0F);
      int64_t r = first;
      for (; r + 4 <= stop; r += 4) backward_rows<kCentre, 4>(a, r, dg, db, level);
      for (; r < stop; ++r) backward_rows<kCentre, 1>(a, r, dg, db, level);
#pragma omp simd
      for (int64_t i = 0; i < 2 * d; ++i) totals[i] += double(dg[i]);
    }
  });
}

// One row by sums in double. Not inlined: it is rare, and the common row's loop keeps its registers.
[[gnu::noinline]] void careful_row(const float* x, float* y, int64_t d, const float* gamma,
                                   const float* beta, double eps, float* mean, float* rstd) {
  plain::row_norm(x, y, 1, d, gamma, beta, eps, mean, rstd);
}

template <bool kCentre>
void forward_range(const float* x, float* y, int64_t begin, int64_t end, int64_t d,
                   const float* gamma, const float* beta, double eps, float* mean, float* rstd) {
  simd([=](auto level) {
    const double inv = 1 / static_cast<double>(d);
    const double blur = 0x1p-24 * static_cast<double>(d + 1024);  // 64 times the mean's rounding
    for (int64_t r = begin; r < end; ++r) {
      const float* p = x + r * d;
      float* q = y + r * d;
      const float m =
          kCentre ? static_cast<float>(
                        double(lane_sum(d, [=](float sum, int64_t i) { return sum + p[i]; })) * inv)
                  : 0;
      const float sum = lane_sum(d, [=](float squares, int64_t i) {
        const float off = p[i] - m;
        return level.multiply_add(off, off, squares);
      });
      // Deviations of the size of m's rounding, as of equal elements: again, with sums in double.
      if (kCentre && double(sum) * inv < blur * double(m) * blur * double(m)) {
        careful_row(p, q, d, gamma, beta, eps, mean + r, rstd + r);
        continue;
      }
      const auto rs = static_cast<float>(1 / std::sqrt(double(sum) * inv + eps));
      if (kCentre) mean[r] = m;
      rstd[r] = rs;
      if (gamma && beta) {
#pragma omp simd
        for (int64_t i = 0; i < d; ++i)
          q[i] = level.multiply_add((p[i] - m) * rs, gamma[i], beta[i]);
      } else if (gamma) {
#pragma omp simd
        for (int64_t i = 0; i < d; ++i) q[i] = (p[i] - m) * rs * gamma[i];
      } else if (beta) {
#pragma omp simd
        for (int64_t i = 0; i < d; ++i) q[i] = level.multiply_add(p[i] - m, rs, beta[i]);
      } else {
#pragma omp simd
        for (int64_t i = 0; i < d; ++i) q[i] = (p[i] - m) * rs;
      }
    }
  });
}

}  // namespace

template <>
void row_norm(const float* x, float* y, int64_t rows, int64_t d, const float* gamma,
              const float* beta, double eps, float* mean, float* rstd) {
  if (plain_kernels()) return plain::row_norm(x, y, rows, d, gamma, beta, eps, mean, rstd);
  parallel_ranges(rows, forward_grain(d), [=](int64_t begin, int64_t end) {
    (mean ? forward_range<true> : forward_range<false>)(x, y, begin, end, d, gamma, beta, eps, mean,
                                                        rstd);
  });
}

int64_t row_norm_scratch(int64_t rows, int64_t d) {
  const int64_t grain = backward_grain(rows, d);
  return (rows + grain - 1) / grain * padded(d) * 3 +
         padded(d) / 2;  // a piece: 2 d doubles and 2 d floats; a gamma of ones
}

template <>
void row_norm_backward(const float* x, const float* dy, float* dx, float* dgamma, float* dbeta,
                       int64_t rows, int64_t d, const float* gamma, const float* mean,
                       const float* rstd, double* scratch) {
  if (plain_kernels())
    return plain::row_norm_backward(x, dy, dx, dgamma, dbeta, rows, d, gamma, mean, rstd);
  const int64_t grain = backward_grain(rows, d), stride = 3 * padded(d),
                pieces = (rows + grain - 1) / grain;
  auto* const ones = reinterpret_cast<float*>(scratch + pieces * stride);
  if (!gamma) std::fill_n(ones, d, 1.0F);
  const RowGradient args{x, dy, dx, gamma ? gamma : ones, mean, rstd, d};
  parallel_ranges(rows, grain, [=](int64_t begin, int64_t end) {
    double* totals = scratch + begin / grain * stride;
    auto* floats = reinterpret_cast<float*>(totals + 2 * padded(d));
    std::fill_n(totals, 2 * d, 0.0);
    (mean ? backward_range<true> : backward_range<false>)(args, begin, end, floats, totals);
  });
  if (!dgamma && !dbeta) return;
  parallel_ranges(d, 2048, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      double dg = 0, db = 0;
      for (int64_t p = 0; p < pieces; ++p)
        dg += scratch[p * stride + i], db += scratch[p * stride + d + i];
      if (dgamma) dgamma[i] = static_cast<float>(dg);
      if (dbeta) dbeta[i] = static_cast<float>(db);
    }
  });
}

}  // namespace loupe::kernels
