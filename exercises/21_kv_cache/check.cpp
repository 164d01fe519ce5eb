#include "exercise.h"

#include <loupe/exercises/check.h>

#include <fmt/format.h>

#include <numeric>

#include <loupe/loupe.h>

namespace loupe::exercises {

namespace {

struct Case {
  Tensor q, k, v;               // (B, T, d) of the whole text
  std::vector<int64_t> pieces;  // how many tokens come at a time
};

enum class Mistake {
  none,
  no_offset,        // the future begins one above the diagonal
  no_mask,          // inside of the new tokens
  whole_room,       // also looks at empty places
  new_only,         // looks at the new tokens only
  one_too_few,      // the new token does not see itself
  scale_by_length,  // divides by the root of the number of keys
};

// The outputs of a way to do it, one tensor for all pieces.
Tensor outputs(const Case& c, int64_t room, Mistake m) {
  const int64_t B = c.q.size(0), d = c.q.size(2);
  const Tensor keys = zeros({B, room, d}, DType::f64), values = zeros({B, room, d}, DType::f64);
  Tensors all_out;
  int64_t length = 0, from = 0;
  for (int64_t t : c.pieces) {
    const Tensor q = c.q.slice(1, from, from + t), k = c.k.slice(1, from, from + t),
                 v = c.v.slice(1, from, from + t);
    const int64_t all = length + t;
    keys.slice(1, length, all).copy_(k);
    values.slice(1, length, all).copy_(v);
    Tensor seen_k = keys.slice(1, 0, all), seen_v = values.slice(1, 0, all);
    int64_t diagonal = length + 1;
    if (m == Mistake::whole_room) seen_k = keys, seen_v = values, diagonal = room;
    if (m == Mistake::new_only) seen_k = k, seen_v = v, diagonal = 1;
    if (m == Mistake::no_offset) diagonal = 1;
    if (m == Mistake::no_mask) diagonal = room;
    if (m == Mistake::one_too_few) diagonal = length;
    const int64_t columns = seen_k.size(1);
    const double scale =
        std::sqrt(static_cast<double>(m == Mistake::scale_by_length ? columns : d));
    const Tensor future = triu(ones({t, columns}), diagonal).to(DType::boolean);
    const Tensor scores = masked_fill(matmul(q, seen_k.t()) / scale, future, -INFINITY);
    all_out.push_back(matmul(softmax(scores), seen_v));
    length = all;
    from += t;
  }
  return cat(all_out, 1);
}

void compare(Check& c, const std::string& name, const Case& k) {
  const int64_t B = k.q.size(0), T = k.q.size(1), d = k.q.size(2), room = T + 3;
  c.trying(fmt::format("{}: {} tokens a call, room for {}", name, fmt::join(k.pieces, ", "), room));
  mine::Cache cache{zeros({B, room, d}, DType::f64), zeros({B, room, d}, DType::f64)};
  Tensors out;
  int64_t from = 0;
  for (int64_t t : k.pieces) {
    out.push_back(mine::extend(k.q.slice(1, from, from + t), k.k.slice(1, from, from + t),
                               k.v.slice(1, from, from + t), cache));
    c.expect(out.back().shape() == Shape{B, t, d},
             "the result has the shape " + to_string(out.back().shape()) + ": it is that of q");
    const int64_t before = from;
    from += t;
    c.expect(cache.length != before, "length does not grow: each call writes over the last one");
    c.expect(cache.length != before + 1 || t == 1,
             "length grows by 1 a call: it grows by the number of new tokens");
    c.expect(cache.length == from, fmt::format("length is {} after {} tokens", cache.length, from));
  }
  const std::vector<std::pair<std::string, Mistake>> wrong{
      {"the mask does not know of the tokens before: row i is token length + i, so the future "
       "begins "
       "at column length + i + 1",
       Mistake::no_offset},
      {"new tokens see later new tokens: a prompt of several tokens needs a causal mask, too",
       Mistake::no_mask},
      {"empty places are looked at: their score is 0, and e^0 is 1; take the first length + t only",
       Mistake::whole_room},
      {"only the new tokens are looked at: the old ones are in the cache", Mistake::new_only},
      {"a new token does not see itself: store k and v first, then look at length + t keys",
       Mistake::one_too_few},
      {"you divided by the root of the number of keys: d is the width of a query",
       Mistake::scale_by_length}};
  Ideas ideas;
  for (const auto& [says, m] : wrong)
    ideas.push_back({says, [&, m = m] { return outputs(k, room, m); }});
  c.equal("y", cat(out, 1), outputs(k, room, Mistake::none), ideas);
  c.equal("cache.keys", cache.keys.slice(1, 0, T).contiguous(), k.k,
          {{"keys and values are exchanged in the cache", [&] { return k.v; }}});
  c.equal("cache.values", cache.values.slice(1, 0, T).contiguous(), k.v,
          {{"the values are not stored", [&] {
              return zeros({B, T, d}, DType::f64);
            }}});
}

}  // namespace

void run(Check& c) {
  const int64_t d = c.between(2, 3);
  const auto draw = [&](const std::vector<int64_t>& pieces) {
    const int64_t T = std::accumulate(pieces.begin(), pieces.end(), int64_t{0});
    return Case{c.normal({2, T, d}, 2), c.normal({2, T, d}, 2), c.normal({2, T, d}), pieces};
  };
  compare(c, "a token at a time", draw({1, 1, 1, 1}));
  compare(c, "a prompt", draw({c.between(3, 4)}));
  compare(c, "a prompt, then a token at a time", draw({c.between(2, 3), 1, 1}));
  compare(c, "two pieces of several tokens", draw({2, 3, 1}));
}

}  // namespace loupe::exercises
