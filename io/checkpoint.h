#pragma once
// Models as safetensors files, and checkpoints: everything a training run consists of, in one such
// file.
#include <loupe/io/loader.h>
#include <loupe/io/safetensors.h>
#include <loupe/layers/state.h>
#include <loupe/optim/schedule.h>

#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace loupe {

enum class Tied {
  every,  // a tied tensor is written under each of its names, as a PyTorch state_dict has it
  once,   // under its first name alone, as Hugging Face does
};
/// Writes a model's state_dict. `metadata` defaults to what Hugging Face's readers ask for.
void save_model(const std::string& path, Module& m, Tied tied = Tied::every,
                const Metadata& metadata = {{"format", "pt"}});
/// Reads one into the model: strict by default; missing, unexpected and mis-shaped names are listed
/// together (ValueError), and then nothing has been changed. Tied tensors may be there once or
/// under every name.
LoadReport load_model(const std::string& path, Module& m, const LoadOptions& options = {});

/// What a checkpoint holds. Null members and empty maps are left out. Reading needs the same model,
/// optimizer, schedule, loader and streams. `numbers` and `options` become those of the file,
/// whatever they were.
struct TrainingState {
  Module* model = nullptr;  // parameters, buffers, and the random streams of its layers
  Optimizer* optimizer = nullptr;
  Schedule* schedule = nullptr;
  DataLoader* loader = nullptr;
  std::map<std::string, Rng*> streams = {};    // the program's own
  std::map<std::string, double> numbers = {};  // step, best metric, running sums, ...: kept exactly
  std::string options = "";  // what the run was started with, e.g. JSON; told, not compared
};

/// Writes atomically, with a version and a SHA-256 of all names and values.
void save_checkpoint(const std::string& path, const TrainingState& state);
/// Restores everything, to the same bits. IoError if the file is damaged (any flipped byte is
/// found) or of another version; ValueError if it is of another model, optimizer or program.
/// Nothing has been changed then.
void load_checkpoint(const std::string& path, TrainingState& state);
/// The same from a file's content.
void load_checkpoint(const SafetensorsFile& file, TrainingState& state, const std::string& name);
/// SHA-256 of everything a checkpoint would hold but the options: equal hashes mean runs that go on
/// with the same bits.
std::string state_hash(const TrainingState& state);
/// The checksum that belongs into the file's metadata under "checksum".
std::string checkpoint_checksum(const SafetensorsFile& file);
/// The options a checkpoint was made with, after the same checks of the file.
std::string checkpoint_options(const std::string& path);

/// A folder with the last checkpoints, `step-000001200.safetensors` and so on, and the best one,
/// `best.safetensors`.
class CheckpointFolder {
 public:
  /// Keeps the `keep` newest. The folder is made with the first checkpoint.
  explicit CheckpointFolder(std::string folder, int keep = 3);

  /// Saves under this step's number, then removes what is too old. Interrupted at any point it
  /// leaves every earlier checkpoint whole. With a metric smaller than any before (NaN never is) it
  /// is saved as the best one too.
  void save(TrainingState& state, int64_t step, std::optional<double> metric = {});
  /// Restores the newest checkpoint that is whole and returns its step; nothing if there is none.
  /// Damaged ones are passed over and told in `skipped`; ValueError if it is of another model.
  std::optional<int64_t> resume(TrainingState& state, std::vector<std::string>* skipped = nullptr);

  std::string path_of(int64_t step) const;
  std::string best_path() const { return folder_ + "/best.safetensors"; }
  /// Steps of the checkpoints that are there, ascending.
  std::vector<int64_t> steps() const;
  double best() const { return best_; }

 private:
  std::string folder_;
  int keep_;
  double best_ = std::numeric_limits<double>::infinity();
};

}  // namespace loupe
