#include <loupe/core/stretch.h>
#include <loupe/view/memory_timeline.h>
#include <loupe/view/words.h>

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

namespace loupe {

const char* to_string(MemoryUse use) {
  static constexpr std::array<const char*, kMemoryUses> names = {
      "parameters", "gradients", "optimizer", "activations", "temporary", "other"};
  return names[static_cast<size_t>(use)];
}

int64_t MemoryPoint::live() const {
  return std::accumulate(bytes.begin(), bytes.end(), int64_t{0});
}

MemoryTimeline::MemoryTimeline() : thread_(std::this_thread::get_id()), begin_(clock_seconds()) {
  mark();
}

// --- what is heard
// ---------------------------------------------------------------------------------

void MemoryTimeline::note(What what, int block, int64_t live, int keeper) {
  events_.push_back({clock_seconds() - begin_, live, block, keeper, what});
}

void MemoryTimeline::allocated(const Storage& block) {
  std::lock_guard lock(mutex_);
  const int number = static_cast<int>(blocks_.size());
  blocks_.push_back({.bytes = static_cast<int64_t>(block.bytes())});
  alive_[&block] = number;
  if (std::this_thread::get_id() == thread_) unnamed_.push_back(number);
  note(What::born, number, memory_stats().live_bytes);
}

void MemoryTimeline::freed(const Storage& block) {
  std::lock_guard lock(mutex_);
  const auto found = alive_.find(&block);
  if (found == alive_.end()) return;  // it lived before, and nobody asked for it
  const int number = found->second;
  alive_.erase(found);
  note(What::died, number, memory_stats().live_bytes - blocks_[static_cast<size_t>(number)].bytes);
}

// A block that was not heard of lived before the timeline began.
int MemoryTimeline::number_of(const Storage& block) {
  const auto [place, is_new] = alive_.try_emplace(&block, static_cast<int>(blocks_.size()));
  if (is_new) {
    before_.push_back(place->second);
    blocks_.push_back({.bytes = static_cast<int64_t>(block.bytes()), .use = MemoryUse::other});
  }
  return place->second;
}

int MemoryTimeline::made_by(Maker maker) {
  std::lock_guard lock(mutex_);
  const int number = static_cast<int>(makers_.size());
  makers_.push_back(std::move(maker));
  for (const int block : unnamed_) blocks_[static_cast<size_t>(block)].maker = number;
  unnamed_.clear();
  return number;
}

void MemoryTimeline::name(int maker, Maker known) {
  std::lock_guard lock(mutex_);
  makers_[static_cast<size_t>(maker)] = std::move(known);
}

void MemoryTimeline::belongs(const Storage& block, MemoryUse use, const std::string& name) {
  if (!block.is_allocated()) return;
  std::lock_guard lock(mutex_);
  Block& b = blocks_[static_cast<size_t>(number_of(block))];
  b.use = use;
  if (!name.empty()) b.name = name;
}

void MemoryTimeline::kept(const Storage& block, int maker) {
  if (!block.is_allocated()) return;
  std::lock_guard lock(mutex_);
  const int number = number_of(block);
  note(What::kept, number, memory_stats().live_bytes, maker);
}

void MemoryTimeline::let_go(const Storage& block) {
  if (!block.is_allocated()) return;
  std::lock_guard lock(mutex_);
  const auto found = alive_.find(&block);
  if (found != alive_.end()) note(What::let_go, found->second, memory_stats().live_bytes);
}

void MemoryTimeline::mark() {
  std::lock_guard lock(mutex_);
  note(What::mark, -1, memory_stats().live_bytes);
}

// --- what is told
// ----------------------------------------------------------------------------------

struct MemoryTimeline::Walk {
  std::vector<bool> alive;
  std::vector<int> keepers;  // how many ops keep the block
  std::vector<int> keeper;   // the first of them
  MemoryPoint point;         // `other` is what the blocks that were heard of leave of `live`

  explicit Walk(const MemoryTimeline& t)
      : alive(t.blocks_.size()), keepers(t.blocks_.size()), keeper(t.blocks_.size(), -1) {
    for (const int block : t.before_) be(t, block, true);
  }
  MemoryUse use(const MemoryTimeline& t, int block) const {
    const MemoryUse use = t.blocks_[static_cast<size_t>(block)].use;
    const bool plain = use == MemoryUse::temporary || use == MemoryUse::other;
    return plain && keepers[static_cast<size_t>(block)] > 0 ? MemoryUse::activations : use;
  }
  void count(const MemoryTimeline& t, int block, int sign) {
    point.bytes[static_cast<size_t>(use(t, block))] +=
        sign * t.blocks_[static_cast<size_t>(block)].bytes;
  }
  void be(const MemoryTimeline& t, int block, bool is_alive) {
    if (alive[static_cast<size_t>(block)] == is_alive) return;
    alive[static_cast<size_t>(block)] = is_alive;
    count(t, block, is_alive ? 1 : -1);
  }
  void keep(const MemoryTimeline& t, int block, int change, int maker) {
    const auto at = static_cast<size_t>(block);
    if (keepers[at] == 0) keeper[at] = maker;
    if (alive[at]) count(t, block, -1);
    keepers[at] += change;
    if (alive[at]) count(t, block, 1);
  }
  void step(const MemoryTimeline& t, const Event& e) {
    switch (e.what) {
      case What::born: be(t, e.block, true); break;
      case What::died: be(t, e.block, false); break;
      case What::kept: keep(t, e.block, 1, e.keeper); break;
      case What::let_go: keep(t, e.block, -1, -1); break;
      case What::mark: break;
    }
    point.time = e.time;
    int64_t& other = point.bytes[static_cast<size_t>(MemoryUse::other)];
    other = 0;
    other = std::max<int64_t>(0, e.live - point.live());
  }
};

template <class Each> void MemoryTimeline::walk(const Each& each) const {
  std::lock_guard lock(mutex_);
  Walk w(*this);
  for (const Event& e : events_) {
    w.step(*this, e);
    each(e, w);
  }
}

std::vector<MemoryPoint> MemoryTimeline::points() const {
  std::vector<MemoryPoint> points;
  MemoryPoint highest;
  walk([&](const Event& e, const Walk& w) {
    if (w.point.live() > highest.live()) highest = w.point;
    if (e.what != What::mark) return;
    if (highest.live() > w.point.live() && highest.time < w.point.time) points.push_back(highest);
    points.push_back(w.point);
    highest = {};
  });
  return points;
}

MemoryPoint MemoryTimeline::peak() const {
  MemoryPoint highest;
  walk([&](const Event&, const Walk& w) {
    if (w.point.live() > highest.live()) highest = w.point;
  });
  return highest;
}

std::vector<AliveAtPeak> MemoryTimeline::alive_at_peak() const {
  const int64_t most = peak().live();
  std::map<std::tuple<MemoryUse, std::string, std::string, std::string>, AliveAtPeak> groups;
  bool done = false;
  walk([&](const Event&, const Walk& w) {
    if (done || w.point.live() < most) return;
    done = true;
    for (size_t i = 0; i < blocks_.size(); ++i) {
      if (!w.alive[i]) continue;
      const Block& block = blocks_[i];
      AliveAtPeak one{
          .use = w.use(*this, static_cast<int>(i)), .op = block.name, .module = "", .line = ""};
      if (one.use == MemoryUse::other) continue;
      if (block.name.empty() && block.maker < 0)
        one.op = block.use == MemoryUse::other ? "(made before)" : "(another thread)";
      if (block.name.empty() && block.maker >= 0) {
        const Maker& maker = makers_[static_cast<size_t>(block.maker)];
        one.op = maker.op;
        one.module = maker.module;
        one.line = maker.line;
      }
      AliveAtPeak& group =
          groups.try_emplace({one.use, one.op, one.module, one.line}, one).first->second;
      group.bytes += block.bytes;
      ++group.blocks;
    }
  });
  std::vector<AliveAtPeak> out;
  for (auto& [key, group] : groups) out.push_back(std::move(group));
  std::stable_sort(out.begin(), out.end(),
                   [](const AliveAtPeak& a, const AliveAtPeak& b) { return a.bytes > b.bytes; });
  return out;
}

MemoryTimeline::Kept MemoryTimeline::most_kept() const {
  const auto kept_at = [](const Walk& w) { return w.point.of(MemoryUse::activations); };
  Kept most;
  walk([&](const Event&, const Walk& w) { most.bytes = std::max(most.bytes, kept_at(w)); });
  bool done = most.bytes == 0;
  walk([&](const Event&, const Walk& w) {
    if (done || kept_at(w) < most.bytes) return;
    done = true;
    for (size_t i = 0; i < blocks_.size(); ++i)
      if (w.alive[i] && w.use(*this, static_cast<int>(i)) == MemoryUse::activations)
        most.by.emplace_back(makers_[static_cast<size_t>(w.keeper[i])], blocks_[i].bytes);
  });
  return most;
}

// --- who says what blocks are for
// ------------------------------------------------------------------

namespace {
bool is_parameter(const Tensor& t) { return t.is_leaf() && t.requires_grad(); }
}  // namespace

void detail::UsesOfLeaves::know(const Named& parameter) {
  const auto& [name, p] = parameter;
  if (p.grad_meta()) leaves_[p.grad_meta().get()] = {p.grad_meta(), name};
  memory_.belongs(*p.storage(), MemoryUse::parameters, name);
}

void detail::UsesOfLeaves::read(const Tensor& input) {
  if (!is_parameter(input)) return;
  const auto& meta = input.grad_meta();
  Leaf& leaf = leaves_[meta.get()];
  if (leaf.meta.expired()) leaf = {meta, ""};
  memory_.belongs(*input.storage(), MemoryUse::parameters, leaf.name);
}

void detail::UsesOfLeaves::find_gradients() {
  std::erase_if(leaves_, [](const auto& entry) { return entry.second.meta.expired(); });
  for (const auto& [key, leaf] : leaves_) {
    const std::shared_ptr<GradMeta> meta = leaf.meta.lock();
    if (meta && meta->grad.defined())
      memory_.belongs(*meta->grad.storage(), MemoryUse::gradients, leaf.name);
  }
}

void detail::UsesOfLeaves::trained(const Named& parameter, std::span<const Tensor> state) {
  const auto& [name, p] = parameter;
  know(parameter);
  memory_.belongs(*p.grad().storage(), MemoryUse::gradients, name);
  for (const Tensor& t : state)
    if (t.defined()) memory_.belongs(*t.storage(), MemoryUse::optimizer, name);
}

void detail::keeps(MemoryTimeline& memory, const Node& node, int maker) {
  if (node.input_count() == 0) return;  // no backward pass will come: it keeps nothing
  for (const SavedTensor* saved : node.saved())
    if (const Tensor& t = saved->peek(); t.defined() && !is_parameter(t))
      memory.kept(*t.storage(), maker);
}

void detail::lets_go(MemoryTimeline& memory, const Node& node) {
  for (const SavedTensor* saved : node.saved())
    if (const Tensor& t = saved->peek(); t.defined() && !is_parameter(t))
      memory.let_go(*t.storage());
}

std::string peak_in_words(const MemoryTimeline& memory, size_t most) {
  const MemoryPoint peak = memory.peak();
  std::string out =
      fmt::format("memory: at most {} in tensors\n", view::bytes_in_words(peak.live()));
  for (size_t use = 0; use < kMemoryUses; ++use)
    if (peak.bytes[use] > 0)
      out += fmt::format("  {:<12}{:>10}\n", to_string(static_cast<MemoryUse>(use)),
                         view::bytes_in_words(peak.bytes[use]));
  const std::vector<AliveAtPeak> alive = memory.alive_at_peak();
  if (alive.empty()) return out;
  out += "alive then:\n";
  for (size_t i = 0; i < std::min(most, alive.size()); ++i) {
    const AliveAtPeak& a = alive[i];
    const std::string what = a.op + (a.module.empty() ? "" : " in " + a.module);
    out += fmt::format("{:>10} {:<12}{:<30} {}\n", view::bytes_in_words(a.bytes), to_string(a.use),
                       view::fitted(what, 30), view::fitted(a.line, 25));
  }
  if (alive.size() > most) out += fmt::format("{:>10} more groups\n", alive.size() - most);
  return out;
}

}  // namespace loupe
