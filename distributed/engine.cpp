#include <loupe/core/raw.h>
#include <loupe/distributed/engine.h>
#include <loupe/distributed/in_order.h>

#include <algorithm>
#include <optional>

namespace loupe::detail {
namespace {

double seconds_since(Clock::time_point t) {
  return std::chrono::duration<double>(Clock::now() - t).count();
}

// What check_headers throws: every rank finds the same.
struct DifferentCalls : CommunicationError {
  using CommunicationError::CommunicationError;
};

// Tags: one for what everybody tells everybody, which is matched in the order of the calls, and two
// for each large collective.
constexpr int kExchangeTag = 1;
constexpr int64_t kTags = 8192;
int data_tag(const Header& h, int phase) {
  return 2 + static_cast<int>(h.number % kTags) * 2 + phase;
}

uint64_t mix(uint64_t h, uint64_t v) {  // FNV-1a, a word at a time
  return (h ^ v) * 1099511628211ULL;
}
uint64_t layout_of(const Tensor& t) {
  uint64_t h = 14695981039346656037ULL;
  for (int i = 0; i < t.dim(); ++i) {
    h = mix(h, static_cast<uint64_t>(t.shape()[i]));
    h = mix(h, static_cast<uint64_t>(t.strides()[i]));
  }
  return h;
}

}  // namespace

CommunicatorImpl::Work CommunicatorImpl::make(Op op, const Tensor& t, const std::string& label) {
  const auto work = std::make_shared<Collective>();
  Header& h = work->header;
  h.op = op;
  h.step = step;
  if (t.defined()) {
    h.dtype = t.dtype();
    h.count = t.numel();
    h.layout = layout_of(t);
    work->tensor = raw::view(t, {t.numel()}, {1}, 0);
  }
  label.copy(h.label, sizeof h.label - 1);
  return work;
}

void CommunicatorImpl::send(Collective& work, const std::byte* data, int64_t bytes, int to,
                            int tag) {
  work.under_way.push_back(
      {transport_->send(data, static_cast<size_t>(bytes), to, tag), to, false});
}
void CommunicatorImpl::receive(Collective& work, std::byte* data, int64_t bytes, int from,
                               int tag) {
  work.under_way.push_back(
      {transport_->receive(data, static_cast<size_t>(bytes), from, tag), from, true});
}

void CommunicatorImpl::exchange(Collective& work, std::span<const std::byte> payload) {
  work.own.resize(sizeof(Header) + payload.size());
  work.all.resize(static_cast<size_t>(size));
  Bytes& own = work.own;
  work.stages.push_back([this, &work, &own] {
    std::memcpy(own.data(), &work.header, sizeof(Header));
    for (int peer = 0; peer < size; ++peer) {
      Bytes& theirs = work.all[static_cast<size_t>(peer)];
      if (peer == rank) {
        theirs = own;
        continue;
      }
      theirs.resize(sizeof(Header) + kSmallCollective);  // theirs may be more than ours
      receive(work, theirs.data(), static_cast<int64_t>(theirs.size()), peer, kExchangeTag);
      send(work, own.data(), static_cast<int64_t>(own.size()), peer, kExchangeTag);
      stats_.bytes_sent += static_cast<int64_t>(own.size() - sizeof(Header));
    }
  });
  std::copy(payload.begin(), payload.end(), own.begin() + sizeof(Header));
  work.stages.push_back([this, &work] { check_headers(work); });
}

void CommunicatorImpl::check_headers(const Collective& work) const {
  std::vector<Header> headers(static_cast<size_t>(size));
  for (int r = 0; r < size; ++r)
    std::memcpy(&headers[static_cast<size_t>(r)], work.all[static_cast<size_t>(r)].data(),
                sizeof(Header));
  const bool all_same = std::all_of(headers.begin(), headers.end(),
                                    [&](const Header& h) { return h.same(headers[0]); });
  if (all_same) return;
  std::string text;
  constexpr size_t kMost = 8;
  for (size_t r = 0; r < std::min(headers.size(), kMost); ++r)
    text += fmt::format("{}rank {} {}", r ? ", " : "", r, headers[r].text());
  const bool ends = work.header.op == Op::ended || work.header.op == Op::failed;
  fail<DifferentCalls>("{}: the ranks do different things: {}{}",
                       ends ? "Communicator" : kOpNames[static_cast<int>(work.header.op)], text,
                       headers.size() > kMost ? ", ..." : "");
}

CommunicatorImpl::Work CommunicatorImpl::launch(const Work& work) {
  const std::lock_guard lock(mutex_);
  throw_if_broken();
  work->header.number = ++number_;
  ++stats_.collectives;
  if (active_.empty()) busy_since_ = Clock::now();
  active_.push_back(work);
  progress();
  throw_if_broken();
  changed_.notify_all();
  return work;
}

CommunicatorImpl::Work CommunicatorImpl::barrier() {
  const Work work = make(Op::barrier, Tensor());
  exchange(*work, {});
  return launch(work);
}

CommunicatorImpl::Work CommunicatorImpl::all_gather(std::span<const double> own) {
  const Work work = make(Op::all_gather, Tensor());
  work->header.dtype = DType::f64;
  work->header.count = static_cast<int64_t>(own.size());
  exchange(*work, std::as_bytes(own));
  return launch(work);
}

CommunicatorImpl::Work CommunicatorImpl::all_reduce(const Tensor& t, const std::string& label) {
  const Work work = make(Op::all_reduce, t, label);
  Collective& w = *work;
  if (!is_small(w)) {
    if (options.checked) exchange(w, {});
    add_reduce_stages(w);
    return launch(work);
  }
  exchange(w, {memory(w.tensor), static_cast<size_t>(bytes_of(w.tensor))});
  w.stages.push_back([this, &w] {
    std::vector<const std::byte*> parts;
    for (int r = 0; r < size; ++r) parts.push_back(w.payload(r));
    add_in_order(w.tensor.dtype(), parts, w.tensor.numel(), memory(w.tensor));
  });
  return launch(work);
}

// Rank r owns part r of the tensor: it gets that part of all others, adds in order, gives the sum
// to all.
void CommunicatorImpl::add_reduce_stages(Collective& w) {
  const int64_t width = static_cast<int64_t>(size_of(w.tensor.dtype())), n = w.tensor.numel();
  const auto part_of = [this, n](int r) { return Share{r, size}.of(n); };
  const auto send_parts = [this, &w, width, part_of](bool sums) {
    const int tag = data_tag(w.header, sums ? 1 : 0);
    const ShareRange own = part_of(rank);
    std::byte* const data = memory(w.tensor);
    for (int k = 1; k < size; ++k) {
      const int from = (rank + size - k) % size, to = (rank + k) % size;
      const ShareRange theirs = part_of(from), given = sums ? own : part_of(to);
      Bytes& room = w.all[static_cast<size_t>(from)];
      if (!sums) room.resize(static_cast<size_t>(own.size() * width));
      if (sums) receive(w, data + theirs.first * width, theirs.size() * width, from, tag);
      else receive(w, room.data(), own.size() * width, from, tag);
      send(w, data + given.first * width, given.size() * width, to, tag);
      stats_.bytes_sent += given.size() * width;
    }
  };
  w.stages.push_back([this, &w, send_parts] {
    w.all.assign(static_cast<size_t>(size), {});
    send_parts(false);
  });
  w.stages.push_back([this, &w, width, part_of, send_parts] {
    const ShareRange own = part_of(rank);
    std::byte* const out = memory(w.tensor) + own.first * width;
    std::vector<const std::byte*> parts;
    for (int r = 0; r < size; ++r)
      parts.push_back(r == rank ? out : w.all[static_cast<size_t>(r)].data());
    add_in_order(w.tensor.dtype(), parts, own.size(), out);
    send_parts(true);
  });
}

CommunicatorImpl::Work CommunicatorImpl::broadcast(const Tensor& t, int root) {
  const Work work = make(Op::broadcast, t);
  Collective& w = *work;
  w.header.root = root;
  if (!is_small(w)) {
    if (options.checked) exchange(w, {});
    add_tree_stages(w);
    return launch(work);
  }
  const size_t bytes = rank == root ? static_cast<size_t>(bytes_of(w.tensor)) : 0;
  exchange(w, {memory(w.tensor), bytes});
  w.stages.push_back([this, &w, root] {
    if (rank != root)
      std::memcpy(memory(w.tensor), w.payload(root), static_cast<size_t>(bytes_of(w.tensor)));
  });
  return launch(work);
}

// A binomial tree: with ranks counted from the root, rank v gets the tensor from v without its
// lowest bit, and gives it to v + 1, v + 2, v + 4, ... below that bit.
void CommunicatorImpl::add_tree_stages(Collective& w) {
  const int root = w.header.root, from_root = (rank - root + size) % size;
  int low = 1;
  while (low < size && !(from_root & low)) low *= 2;
  const auto real = [this, root](int v) { return (v + root) % size; };
  w.stages.push_back([this, &w, from_root, low, real] {
    if (from_root != 0)
      receive(w, memory(w.tensor), bytes_of(w.tensor), real(from_root - low),
              data_tag(w.header, 0));
  });
  w.stages.push_back([this, &w, from_root, low, real] {
    for (int bit = low / 2; bit > 0; bit /= 2) {
      if (from_root + bit >= size) continue;
      send(w, memory(w.tensor), bytes_of(w.tensor), real(from_root + bit), data_tag(w.header, 0));
      stats_.bytes_sent += bytes_of(w.tensor);
    }
  });
}

// Messages that are done are taken away; when none is left the next stage runs.
bool CommunicatorImpl::advance(Collective& work) {
  bool moved = false;
  while (true) {
    const size_t before = work.under_way.size();
    std::erase_if(work.under_way,
                  [&](const Collective::Message& m) { return transport_->test(m.number); });
    moved = moved || work.under_way.size() < before;
    if (!work.under_way.empty()) return moved;
    moved = true;
    if (work.next == work.stages.size()) {
      work.done = true;
      return true;
    }
    work.stages[work.next++]();
  }
}

bool CommunicatorImpl::progress() {
  if (!broken_.empty()) return false;
  bool moved = false;
  try {
    for (const Work& work : active_) moved = advance(*work) || moved;
  } catch (const DifferentCalls& e) {
    break_with(e.what(), active_.size() == 1);
    return true;
  } catch (const std::exception& e) {
    break_with(e.what());
    return true;
  }
  const bool busy = !active_.empty();
  std::erase_if(active_, [](const Work& work) { return work->done; });
  if (busy && active_.empty()) stats_.busy_seconds += seconds_since(busy_since_);
  return moved;
}

void CommunicatorImpl::break_with(const std::string& text, bool everywhere) {
  broken_ = text;
  if (!everywhere) transport_->give_up();
}

std::string CommunicatorImpl::late(const Collective& work, double seconds) const {
  std::vector<int> peers;
  for (const Collective::Message& m : work.under_way)
    if (std::find(peers.begin(), peers.end(), m.peer) == peers.end()) peers.push_back(m.peer);
  std::sort(peers.begin(), peers.end());
  std::string names;
  for (const int p : peers) names += (names.empty() ? "" : ", ") + std::to_string(p);
  return fmt::format("{}: rank {} waited {:.1f} s for rank {} in {} (collective {})",
                     kOpNames[static_cast<int>(work.header.op)], rank, seconds, names,
                     work.header.text(), work.header.number);
}

void CommunicatorImpl::wait(Collective& work) {
  constexpr int kSpins = 1000;                            // about what a message takes here
  constexpr auto kPause = std::chrono::microseconds(50);  // leaves the core to another rank
  constexpr double kGrace = 0.2;                          // after the program was told to end
  const Clock::time_point begin = Clock::now();
  Clock::time_point last_move = begin;
  std::unique_lock lock(mutex_);
  ++waiting_;
  std::optional<Clock::time_point> told;
  for (int idle = 0; !work.done && broken_.empty();) {
    if (progress()) {
      idle = 0;
      last_move = Clock::now();
      continue;
    }
    lock.unlock();
    ++idle;
    if (idle < kSpins) std::this_thread::yield();
    else std::this_thread::sleep_for(kPause);
    if (!told && options.stop && options.stop()) told = Clock::now();
    const double waited = seconds_since(last_move);
    lock.lock();
    if (told && seconds_since(*told) > kGrace && !work.done)
      break_with(late(work, waited) + ", and was told to end; that rank was killed or hangs");
    else if (waited > options.timeout && !work.done)
      break_with(late(work, waited) + "; it has left, hangs, or is somewhere else");
  }
  --waiting_;
  stats_.waited_seconds += seconds_since(begin);
  changed_.notify_all();
  if (!work.done) throw_if_broken();
}

// While nobody waits, this thread moves what is under way.
void CommunicatorImpl::help() {
  constexpr auto kPause = std::chrono::microseconds(50);
  std::unique_lock lock(mutex_);
  while (!ending_) {
    changed_.wait(
        lock, [&] { return ending_ || (!active_.empty() && waiting_ == 0 && broken_.empty()); });
    if (ending_) return;
    progress();
    lock.unlock();
    std::this_thread::sleep_for(kPause);
    lock.lock();
  }
}

void CommunicatorImpl::end_helper() {
  if (!helper_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  helper_.join();
}

void CommunicatorImpl::leave(bool failed) noexcept {
  if (size == 1 || !broken_.empty()) return;
  try {
    if (failed) options.timeout = std::min(options.timeout, 2.0);
    else options.timeout = std::numeric_limits<double>::infinity();
    const Work work = make(failed ? Op::failed : Op::ended, Tensor());
    exchange(*work, {});
    launch(work);
    wait(*work);
  } catch (const std::exception&) {}  // another rank has failed, and says so
  if (failed) transport_->give_up();
}

}  // namespace loupe::detail
