#include <loupe/core/raw.h>
#include <loupe/io/checkpoint.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <filesystem>

namespace loupe {
namespace {

constexpr const char* kVersionKey = "loupe_checkpoint";
constexpr const char* kVersion = "1";
constexpr const char* kBest = "best_metric";  // a number of CheckpointFolder's own

Tensor words(std::initializer_list<uint64_t> values) {
  std::vector<int64_t> v;
  for (const uint64_t x : values) v.push_back(std::bit_cast<int64_t>(x));
  return from_data(v);
}

SafetensorsFile capture(const TrainingState& s) {
  SafetensorsFile file;
  TensorMap& t = file.tensors;
  const auto stream = [&](const std::string& name, const Rng& rng) {
    t[name] = words({rng.state().key, rng.state().counter});
  };
  if (s.model) {
    for (const auto& [name, tensor] : state_dict(*s.model)) t["model/" + name] = tensor;
    for (const auto& [name, rng] : named_streams(*s.model)) stream("model_stream/" + name, *rng);
  }
  if (s.optimizer) {
    file.metadata["optimizer"] = s.optimizer->name();
    for (const auto& [name, tensor] : s.optimizer->state_dict()) t["optimizer/" + name] = tensor;
    std::vector<double> rates;
    for (const Optimizer::Group& g : s.optimizer->groups())
      rates.insert(rates.end(), {g.lr, g.initial_lr, g.weight_decay});
    t["rates"] = from_data(rates);
  }
  if (s.schedule) t["schedule"] = from_data(s.schedule->state());
  if (s.loader) {
    const DataLoader::State l = s.loader->state();
    t["loader"] = words({l.rng.key, l.rng.counter, static_cast<uint64_t>(l.epoch),
                         static_cast<uint64_t>(l.position)});
  }
  for (const auto& [name, rng] : s.streams) stream("stream/" + name, *rng);
  for (const auto& [name, number] : s.numbers) t["number/" + name] = full({}, number, DType::f64);
  file.metadata["options"] = s.options;
  file.metadata[kVersionKey] = kVersion;
  file.metadata["checksum"] = checkpoint_checksum(file);
  return file;
}

/// IoError unless the file is a whole checkpoint of this version.
void check_whole(const SafetensorsFile& file, const std::string& name) {
  const auto get = [&](const char* key) {
    const auto found = file.metadata.find(key);
    return found == file.metadata.end() ? std::string() : found->second;
  };
  if (get(kVersionKey).empty())
    fail<IoError>("{}: is not a checkpoint: it names no {} version", name, kVersionKey);
  if (get(kVersionKey) != kVersion)
    fail<IoError>("{}: a checkpoint of version {}, this program reads version {}", name,
                  get(kVersionKey), kVersion);
  if (get("checksum") != checkpoint_checksum(file))
    fail<IoError>("{}: the checkpoint is damaged: its checksum differs", name);
}

/// Hands out the tensors of a checkpoint and remembers which nobody asked for.
class Contents {
 public:
  Contents(const SafetensorsFile& file, const std::string& name)
      : left_(file.tensors), name_(name) {}

  /// The tensors whose names begin with `prefix`, which is taken off.
  StateDict take_all(const std::string& prefix) {
    StateDict out;
    for (auto it = left_.lower_bound(prefix); it != left_.end() && it->first.starts_with(prefix);
         it = left_.erase(it))
      out.push_back({it->first.substr(prefix.size()), it->second});
    return out;
  }
  template <class T> std::vector<T> take(const std::string& key, int64_t count = -1) {
    const auto found = left_.find(key);
    if (found == left_.end())
      fail<ValueError>("{}: the checkpoint has no '{}': it is of another program", name_, key);
    const Tensor t = found->second;
    left_.erase(found);
    if (t.dtype() != dtype_of<T>() || t.dim() > 1 || (count >= 0 && t.numel() != count))
      fail<ValueError>("{}: '{}' of the checkpoint is {} {}, expected {} {} numbers", name_, key,
                       t.dtype(), t.shape(), count, dtype_of<T>());
    return t.to_vector<T>();
  }
  Rng::State take_stream(const std::string& key) {
    const auto v = take<int64_t>(key, 2);
    return {std::bit_cast<uint64_t>(v[0]), std::bit_cast<uint64_t>(v[1])};
  }
  void expect_empty() const {
    if (!left_.empty())
      fail<ValueError>("{}: the checkpoint holds '{}', for which this program has no place", name_,
                       left_.begin()->first);
  }

 private:
  TensorMap left_;
  const std::string& name_;
};

}  // namespace

// Covers everything but itself; order and padding do not matter.
std::string checkpoint_checksum(const SafetensorsFile& file) {
  Sha256 hash;
  const auto text = [&](std::string_view s) {
    const uint64_t n = s.size();
    hash.update(&n, sizeof n);
    hash.update(s);
  };
  for (const auto& [key, value] : file.metadata)
    if (key != "checksum") text(key), text(value);
  text("");
  for (const auto& [name, t] : file.tensors) {
    text(name), text(fmt::format("{}{}", t.dtype(), t.shape()));
    const Tensor dense = raw::row_major(t);
    dispatch(t.dtype(), [&]<class T>(Type<T>) {
      hash.update(dense.ptr<T>(), static_cast<size_t>(dense.numel()) * sizeof(T));
    });
  }
  return hash.hex();
}

void save_model(const std::string& path, Module& m, Tied tied, const Metadata& metadata) {
  TensorMap tensors;
  std::vector<Tensor> written;
  for (const auto& [name, tensor] : state_dict(m)) {
    const bool again = std::any_of(written.begin(), written.end(),
                                   [&same = tensor](const Tensor& t) { return t.is_same(same); });
    if (again && tied == Tied::once) continue;
    written.push_back(tensor);
    tensors.emplace(name, tensor);
  }
  save_safetensors(path, tensors, metadata);
}

LoadReport load_model(const std::string& path, Module& m, const LoadOptions& options) {
  const FileTensors tensors = load_safetensors(path).tensors;
  for (const auto& [name, own] : state_dict(m))
    if (tensors.unread.contains(name)) tensors.at(name);  // says why
  const StateDict state = to_state_dict(tensors);
  try {
    return load_state_dict(m, state, options);
  } catch (const ValueError& e) { throw ValueError(path + ": " + e.what()); }
}

void save_checkpoint(const std::string& path, const TrainingState& state) {
  const SafetensorsFile file = capture(state);
  save_safetensors(path, file.tensors, file.metadata);
}

std::string state_hash(const TrainingState& state) {
  TrainingState s = state;
  s.options.clear();
  return capture(s).metadata.at("checksum");
}

void load_checkpoint(const SafetensorsFile& file, TrainingState& state, const std::string& name) {
  check_whole(file, name);
  // Everything is taken and checked first, then set.
  Contents c(file, name);
  const StateDict model = state.model ? c.take_all("model/") : StateDict(),
                  numbers = c.take_all("number/");
  const StateDict optimizer = state.optimizer ? c.take_all("optimizer/") : StateDict();
  std::vector<std::pair<Rng*, Rng::State>> streams;
  if (state.model)
    for (const auto& [stream, rng] : named_streams(*state.model))
      streams.emplace_back(rng, c.take_stream("model_stream/" + stream));
  for (const auto& [stream, rng] : state.streams)
    streams.emplace_back(rng, c.take_stream("stream/" + stream));
  std::vector<double> rates, schedule;
  if (state.optimizer) {
    const auto kind = file.metadata.find("optimizer");
    if (kind == file.metadata.end() || kind->second != state.optimizer->name())
      fail<ValueError>("{}: the checkpoint is of optimizer '{}', this run uses {}", name,
                       kind == file.metadata.end() ? "none" : kind->second,
                       state.optimizer->name());
    rates = c.take<double>("rates", static_cast<int64_t>(3 * state.optimizer->groups().size()));
    for (const double rate : rates)
      if (!(rate >= 0 && std::isfinite(rate)))
        fail<ValueError>("{}: the checkpoint has a learning rate or weight decay of {}", name,
                         rate);
  }
  if (state.schedule)
    schedule = c.take<double>("schedule", static_cast<int64_t>(state.schedule->state().size()));
  DataLoader::State loader;
  if (state.loader) {
    const auto v = c.take<int64_t>("loader", 4);
    loader = {{std::bit_cast<uint64_t>(v[0]), std::bit_cast<uint64_t>(v[1])}, v[2], v[3]};
    if (loader.epoch < 0 || loader.position < 0 || loader.position > state.loader->batches())
      fail<ValueError>(
          "{}: the checkpoint was at batch {} of an epoch, this run has {}: other data or batch "
          "size",
          name, loader.position, state.loader->batches());
  }
  c.expect_empty();
  for (const auto& [key, t] : numbers)
    if (t.dtype() != DType::f64 || t.numel() != 1)
      fail<ValueError>("{}: the number '{}' is {} {}", name, key, t.dtype(), t.shape());

  // The parts that may refuse come first, and what they changed is undone should a later one do so.
  StateDict model_before;
  std::vector<double> schedule_before;
  std::vector<Optimizer::Group> groups_before;
  if (state.model)
    for (const auto& [key, t] : state_dict(*state.model))
      model_before.push_back({key, raw::clone(t)});
  if (state.schedule) schedule_before = state.schedule->state();
  if (state.optimizer) groups_before = state.optimizer->groups();
  try {
    if (state.schedule) state.schedule->set_state(schedule);
    if (state.model) load_state_dict(*state.model, model);
    if (state.optimizer) state.optimizer->load_state_dict(optimizer);
  } catch (const Error& e) {
    if (state.model) load_state_dict(*state.model, model_before);
    if (state.schedule) state.schedule->set_state(schedule_before);
    if (state.optimizer) state.optimizer->groups() = groups_before;
    if (dynamic_cast<const ValueError*>(&e)) throw ValueError(name + ": " + e.what());
    throw;
  }
  for (size_t i = 0; i < rates.size(); i += 3) {  // after the schedule, which sets rates of its own
    Optimizer::Group& g = state.optimizer->groups()[i / 3];
    g.lr = rates[i], g.initial_lr = rates[i + 1], g.weight_decay = rates[i + 2];
  }
  for (const auto& [rng, s] : streams) rng->set_state(s);
  if (state.loader) state.loader->set_state(loader);
  state.numbers.clear();
  for (const auto& [key, t] : numbers) state.numbers[key] = t.item();
  const auto options = file.metadata.find("options");
  state.options = options == file.metadata.end() ? "" : options->second;
}

void load_checkpoint(const std::string& path, TrainingState& state) {
  load_checkpoint(load_safetensors(path), state, path);
}

std::string checkpoint_options(const std::string& path) {
  const SafetensorsFile file = load_safetensors(path);
  check_whole(file, path);
  const auto options = file.metadata.find("options");
  return options == file.metadata.end() ? "" : options->second;
}

// ---- The folder
// ------------------------------------------------------------------------------------------------------

CheckpointFolder::CheckpointFolder(std::string folder, int keep)
    : folder_(std::move(folder)), keep_(keep) {
  if (keep < 1) fail<ValueError>("CheckpointFolder: keep is {}, expected at least 1", keep);
}

std::string CheckpointFolder::path_of(int64_t step) const {
  return fmt::format("{}/step-{:09}.safetensors", folder_, step);
}

std::vector<int64_t> CheckpointFolder::steps() const {
  std::vector<int64_t> found;
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder_, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    int64_t step = 0;
    if (!name.starts_with("step-")) continue;
    const auto [after, bad] = std::from_chars(name.data() + 5, name.data() + name.size(), step);
    if (bad == std::errc() && std::string_view(after) == ".safetensors") found.push_back(step);
  }
  std::sort(found.begin(), found.end());
  return found;
}

void CheckpointFolder::save(TrainingState& state, int64_t step, std::optional<double> metric) {
  if (step < 0) fail<ValueError>("CheckpointFolder: step {} must not be negative", step);
  std::error_code error;
  const auto make_folder = [&] {
    std::filesystem::create_directories(folder_, error);
    if (error) fail<IoError>("{}: cannot create the folder: {}", folder_, error.message());
  };
  make_folder();
  const bool better = metric && *metric < best_;
  state.numbers[kBest] = better ? *metric : best_;
  const SafetensorsFile file = capture(state);
  state.numbers.erase(kBest);
  const auto write = [&](const std::string& path) {
    try {
      save_safetensors(path, file.tensors, file.metadata);
    } catch (const IoError&) {  // a folder that was moved away under the write is made again
      if (std::filesystem::exists(folder_, error)) throw;
      make_folder();
      save_safetensors(path, file.tensors, file.metadata);
    }
  };
  // The best one first: whoever resumes from this step must find it.
  if (better) {
    write(best_path());
    best_ = *metric;
  }
  write(path_of(step));

  std::vector<int64_t> old = steps();
  old.resize(old.size() - std::min<size_t>(old.size(), static_cast<size_t>(keep_)));
  for (const int64_t s : old)
    if (s < step) std::filesystem::remove(path_of(s), error);
  // What interrupted runs left half written.
  std::vector<std::filesystem::path> partial;
  for (std::filesystem::directory_iterator it(folder_, error), end; !error && it != end;
       it.increment(error))
    if (it->path().extension() == ".partial") partial.push_back(it->path());
  for (const auto& path : partial) std::filesystem::remove(path, error);
}

std::optional<int64_t> CheckpointFolder::resume(TrainingState& state,
                                                std::vector<std::string>* skipped) {
  const std::vector<int64_t> found = steps();
  for (auto step = found.rbegin(); step != found.rend(); ++step) {
    try {
      load_checkpoint(path_of(*step), state);
    } catch (const IoError& e) {
      if (skipped) skipped->push_back(e.what());
      continue;
    }
    if (const auto best = state.numbers.find(kBest); best != state.numbers.end()) {
      best_ = best->second;
      state.numbers.erase(best);
    }
    return *step;
  }
  return {};
}

}  // namespace loupe
