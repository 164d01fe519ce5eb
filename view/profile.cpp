#include <loupe/core/error.h>
#include <loupe/view/profile.h>
#include <loupe/view/words.h>

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace loupe {
namespace {

double bytes_of(const Tensor& t) {
  return t.defined() ? static_cast<double>(t.numel()) * static_cast<double>(size_of(t.dtype())) : 0;
}

std::string in_words(const Shape& shape) { return fmt::format("{}", shape); }

std::string milliseconds(double seconds) { return fmt::format("{:.2f}", 1e3 * seconds); }

constexpr double kMicro = 1e6;  // traces count microseconds

// A point of the trace's counter track of busy threads; `time` in microseconds.
std::string threads_counter(double time, double threads) {
  return fmt::format(
      ",\n{{\"ph\": \"C\", \"pid\": 1, \"name\": \"threads busy\", \"ts\": {:.3f}, \"args\": "
      "{{\"threads\": {:.2f}}}}}",
      time, threads);
}

}  // namespace

void ProfileCost::add(const ProfileCost& other) {
  calls += other.calls;
  seconds += other.seconds;
  flops += other.flops;
  bytes += other.bytes;
  thread_seconds += other.thread_seconds;
}

Profile::Profile() : begin_(clock_seconds()), end_(begin_) {}

// An op's name, its options and what it keeps are known once it has filled in its record: at the
// next event.
void Profile::finish_last() {
  const std::shared_ptr<Node> node = std::move(last_.node);
  if (!node) return;
  const Key key{node->name(), node->module_path_id()};
  Cost& cost = costs_[key];
  const double flops = op_flops(*node, last_.inputs);
  const double seconds = last_.time.seconds();
  cost.forward.add({1, seconds, flops, last_.bytes, seconds * last_.threads});
  if (seconds > cost.longest) {
    cost.longest = seconds;
    cost.kernel = last_.kernel;
  }
  if (node->input_count() > 0) forward_flops_[node->birth()] = flops;
  events_.push_back({node->name(), node->module_path(), to_string(node->site()),
                     node->output_count() ? in_words(node->output_shape(0)) : "", last_.kernel,
                     last_.time, last_.threads, node->birth(), true});
  memory_.name(last_.maker, {node->name(), node->module_path(), to_string(node->site())});
  detail::keeps(memory_, *node, last_.maker);
}

void Profile::ended(double time) {
  end_ = time;
  memory_.mark();
}

const MemoryTimeline& Profile::memory() {
  finish_last();
  memory_.mark();  // what the last op keeps, too
  return memory_;
}

void Profile::forward(const OpRun& run) {
  finish_last();
  last_ = {run.node, {}, 0, run.kernel, run.time, run.threads, memory_.made_by({})};
  for (const Tensor* t : run.inputs) {
    last_.inputs.push_back(t->defined() ? t->shape() : Shape());
    last_.bytes += bytes_of(*t);
    if (t->defined()) leaves_.read(*t);
  }
  for (const Tensor& t : run.outputs) last_.bytes += bytes_of(t);
  ended(run.time.end);
}

void Profile::backward(const RuleRun& run) {
  finish_last();
  const Node& node = run.node;
  ProfileCost call{1, run.time.seconds(), 0, 0, run.time.seconds() * run.threads};
  for (const Tensor& t : run.dy) call.bytes += bytes_of(t);
  int gradients = 0;
  for (const Tensor& t : run.dx) {
    call.bytes += bytes_of(t);
    gradients += t.defined() && t.dim() > 1;  // of a bias: sums, no product
  }
  for (const SavedTensor* saved : node.saved()) call.bytes += static_cast<double>(saved->bytes());
  // Each gradient of a product is a product of the same size.
  if (const auto found = forward_flops_.find(node.birth()); found != forward_flops_.end()) {
    call.flops = found->second * std::max(1, gradients);
    forward_flops_.erase(found);
  }
  costs_[{node.name(), node.module_path_id()}].backward.add(call);
  events_.push_back({node.name(), node.module_path(), to_string(node.site()),
                     node.output_count() ? in_words(node.output_shape(0)) : "", run.kernel,
                     run.time, run.threads, node.birth(), false});
  memory_.made_by(
      {std::string(node.name()) + " backward", node.module_path(), to_string(node.site())});
  detail::lets_go(memory_, node);
  ended(run.time.end);
}

void Profile::stretch(const char* name, Span time) {
  finish_last();
  const bool is_backward = std::string_view(name) == "backward";
  if (!is_backward) stretches_[name] += time.seconds();
  events_.push_back({name, "", "", "", "", time, 1, 0, true});
  memory_.made_by({name, "", ""});
  leaves_.find_gradients();
  ended(time.end);
}

void Profile::trained(const Named& parameter, std::span<const Tensor> state) {
  leaves_.trained(parameter, state);
}

std::vector<ProfileRow> Profile::rows(bool by_module) {
  finish_last();
  std::map<std::string, ProfileRow> by_name;
  std::map<std::string, double> longest;
  for (const auto& [key, cost] : costs_) {
    const std::string name = by_module ? path_name(key.path) : key.op;
    ProfileRow& row = by_name[name];
    row.name = name;
    row.forward.add(cost.forward);
    row.backward.add(cost.backward);
    if (cost.longest >= longest[name]) {
      longest[name] = cost.longest;
      row.kernel = cost.kernel;
    }
  }
  for (const auto& [maker, bytes] : memory_.most_kept().by)
    by_name[by_module ? maker.module : maker.op].kept += bytes;
  std::vector<ProfileRow> rows;
  for (auto& [name, row] : by_name) rows.push_back(std::move(row));
  std::stable_sort(rows.begin(), rows.end(), [](const ProfileRow& a, const ProfileRow& b) {
    return a.seconds() > b.seconds();
  });
  return rows;
}

std::vector<ProfileRow> Profile::ops() { return rows(false); }
std::vector<ProfileRow> Profile::modules() { return rows(true); }

std::string Profile::table(double peak) {
  const double total = seconds();
  const auto share = [&](double s) { return total > 0 ? 100 * s / total : 0; };
  std::string out = "times in milliseconds; thr: threads that were busy\n";
  const auto head = [&](const char* what) {
    out += fmt::format("{:<17}{:>6}{:>9}{:>9}{:>6}{:>4}{:>8}{:>5}{:>6}{:>10}\n", what, "calls",
                       "forward", "backward", "share", "thr", "GFLOP/s", peak > 0 ? "peak" : "",
                       "GB/s", "keeps");
  };
  const auto line = [&](const ProfileRow& row) {
    const double flops = row.forward.flops + row.backward.flops;
    const double speed = row.seconds() > 0 ? flops / row.seconds() * 1e-9 : 0;
    const double traffic = row.forward.bytes + row.backward.bytes;
    out += fmt::format("{:<17}{:>6}{:>9}{:>9}{:>4.0f} %{:>4.1f}{:>8.1f}{:>5}{:>6.1f}{:>10}\n",
                       view::fitted(row.name.empty() ? "(no module)" : row.name, 16),
                       row.forward.calls, milliseconds(row.forward.seconds),
                       milliseconds(row.backward.seconds), share(row.seconds()), row.threads(),
                       speed, peak > 0 ? fmt::format("{:.0f}%", 100 * speed / peak) : "",
                       row.seconds() > 0 ? traffic / row.seconds() * 1e-9 : 0,
                       row.kept > 0 ? view::bytes_in_words(row.kept) : "");
  };
  head("op");
  double in_ops = 0;
  for (const ProfileRow& row : ops()) {
    line(row);
    in_ops += row.seconds();
  }
  out += '\n';
  head("module");
  for (const ProfileRow& row : modules()) line(row);
  out += '\n';
  double rest = total - in_ops;
  for (const auto& [name, s] : stretches_) {
    out +=
        fmt::format("{:<17}{:>6}{:>9}{:>9}{:>4.0f} %\n", name, "", milliseconds(s), "", share(s));
    rest -= s;
  }
  out += fmt::format("{:<17}{:>6}{:>9}{:>9}{:>4.0f} %\n", "between ops", "", milliseconds(rest), "",
                     share(rest));
  out += fmt::format("{:<17}{:>6}{:>9}\n", "all", "", milliseconds(total));
  out += '\n' + peak_in_words(memory_);
  return out;
}

void Profile::save_trace(const std::string& path) {
  finish_last();
  std::string out = "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n";
  out += "{\"ph\": \"M\", \"pid\": 1, \"name\": \"process_name\", \"args\": {\"name\": \"Loupe\"}}";
  std::set<uint64_t> have_rule;
  for (const Event& e : events_)
    if (!e.forward) have_rule.insert(e.birth);
  for (const Event& e : events_) {
    const double start = (e.time.begin - begin_) * kMicro;
    out += fmt::format(
        ",\n{{\"ph\": \"X\", \"pid\": 1, \"tid\": 1, \"name\": {}, \"cat\": \"{}\", \"ts\": "
        "{:.3f}, "
        "\"dur\": {:.3f}, \"args\": {{\"module\": {}, \"line\": {}, \"shape\": {}, \"kernel\": "
        "{}}}}}",
        view::json_string(e.forward ? e.name : e.name + " backward"),
        e.birth == 0 ? "stretch"
        : e.forward  ? "forward"
                     : "backward",
        start, e.time.seconds() * kMicro, view::json_string(e.path), view::json_string(e.site),
        view::json_string(e.shape), view::json_string(e.kernel));
    out +=
        threads_counter(start, e.threads) + threads_counter(start + e.time.seconds() * kMicro, 1);
    if (e.birth == 0 || !have_rule.contains(e.birth)) continue;
    // An arrow from the forward call to its rule.
    out += fmt::format(
        ",\n{{\"ph\": \"{}\", \"pid\": 1, \"tid\": 1, \"name\": \"gradient\", \"cat\": "
        "\"gradient\", "
        "\"id\": {}, \"ts\": {:.3f}{}}}",
        e.forward ? "s" : "f", e.birth, start, e.forward ? "" : ", \"bp\": \"e\"");
  }
  for (const MemoryPoint& m : memory_.points()) {
    out += fmt::format(
        ",\n{{\"ph\": \"C\", \"pid\": 1, \"name\": \"memory (MB)\", \"ts\": {:.3f}, \"args\": {{",
        m.time * kMicro);
    for (size_t use = 0; use < kMemoryUses; ++use)
      out += fmt::format("{}\"{}\": {:.3f}", use > 0 ? ", " : "",
                         to_string(static_cast<MemoryUse>(use)),
                         static_cast<double>(m.bytes[use]) * 1e-6);
    out += "}}";
  }
  out += "\n]}\n";
  view::write_text(path, out, "save_trace");
}

}  // namespace loupe
