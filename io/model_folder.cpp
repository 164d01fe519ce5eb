#include <loupe/io/json.h>
#include <loupe/io/model_folder.h>

#include <filesystem>
#include <set>

namespace loupe {
namespace {

constexpr const char* kWhole = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

bool exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

// What else a folder may hold, and how it becomes what can be read.
[[noreturn]] void fail_without_safetensors(const std::string& folder) {
  struct Other {
    const char *file, *what;
  };
  constexpr Other kOthers[] = {
      {"pytorch_model.bin", "a pickle of PyTorch's"},
      {"pytorch_model.bin.index.json", "pickles of PyTorch's in shards"},
      {"tf_model.h5", "weights of TensorFlow's"},
      {"flax_model.msgpack", "weights of Flax's"},
      {"model.onnx", "a graph of ONNX"},
  };
  for (const auto& [file, what] : kOthers)
    if (exists(folder + "/" + file))
      fail<IoError>(
          "{}: holds {}, {}, which is not read here; expected {}. Transformers writes that: "
          "AutoModel.from_pretrained(\"{}\").save_pretrained(\"{}\")",
          folder, file, what, kWhole, folder, folder);
  fail<IoError>("{}: holds no {} and no {}", folder, kWhole, kIndex);
}

// Tensor -> file.
std::map<std::string, std::string> read_index(const std::string& path) {
  const std::string text = read_file(path);
  JsonReader r(text, path);
  std::map<std::string, std::string> files;
  r.object([&](const std::string& key) {
    if (key != "weight_map") return r.skip();  // sums for people
    r.object([&](const std::string& tensor) {
      const std::string file = r.string();
      if (file.empty() || file.find('/') != file.npos)
        r.fail(fmt::format("\"{}\" is no name of a file in this folder", file));
      files[tensor] = file;
    });
  });
  r.end();
  if (files.empty()) fail<IoError>("{}: names no tensor under \"weight_map\"", path);
  return files;
}

}  // namespace

FileTensors load_model_folder(const std::string& folder) {
  if (const std::string whole = folder + "/" + kWhole; exists(whole))
    return load_safetensors(whole).tensors;
  const std::string index = folder + "/" + kIndex;
  if (!exists(index)) fail_without_safetensors(folder);
  const auto file_of = read_index(index);
  FileTensors all;
  all.file = index;
  std::set<std::string> files;
  for (const auto& [tensor, file] : file_of) files.insert(file);
  for (const std::string& file : files) {
    const FileTensors shard = load_safetensors(folder + "/" + file).tensors;
    const auto check = [&](const std::string& tensor) {
      const auto named = file_of.find(tensor);
      if (named == file_of.end() || named->second != file)
        fail<IoError>("{}: tensor '{}' is in {}, where the index does not name it", index, tensor,
                      file);
    };
    for (const auto& [tensor, t] : shard) check(tensor), all.emplace(tensor, t);
    for (const auto& [tensor, why] : shard.unread) check(tensor), all.unread.emplace(tensor, why);
  }
  for (const auto& [tensor, file] : file_of)
    if (!all.contains(tensor) && !all.unread.contains(tensor))
      fail<IoError>("{}: tensor '{}' is not in {}", index, tensor, file);
  return all;
}

std::string unread_text(const FileTensors& tensors) {
  std::string text;
  for (const auto& [name, why] : tensors.unread)
    text += (text.empty() ? "; not read: " : ", ") + why;
  return text;
}

}  // namespace loupe
