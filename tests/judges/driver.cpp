// judge_driver IN.safetensors OUT.safetensors: runs the cases of one file (its metadata "cases" is
// their list) and writes what they gave; the metadata "errors" maps a case to the text it threw.
// judge_driver --list: the ops it knows.
#include <loupe/io/json.h>

#include <cstdio>

#include "case.h"

using namespace judge;

namespace {

int list() {
  for (const std::string& name : row_names()) std::printf("%s\n", name.c_str());
  return 0;
}

void run(const std::string& from, const std::string& to) {
  const SafetensorsFile file = load_safetensors(from);
  const Json cases = parse_json(file.metadata.at("cases"));
  TensorMap results;
  std::string errors;
  for (const Json& one : cases.items) {
    const std::string& id = one["id"].text();
    std::fprintf(stderr, "%s\n", id.c_str());  // the last line names a case that ends the program
    const Outcome outcome = run_case(one, file.tensors);
    for (const auto& [name, tensor] : outcome.tensors) results[id + "/" + name] = tensor;
    if (outcome.error.empty()) continue;
    errors += (errors.empty() ? "" : ",") + json_quote(id) + ":" + json_quote(outcome.error);
  }
  save_safetensors(to, results, {{"errors", "{" + errors + "}"}});
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string(argv[1]) == "--list") return list();
  if (argc != 3) {
    std::fprintf(stderr, "usage: judge_driver IN.safetensors OUT.safetensors | --list\n");
    return 2;
  }
  run(argv[1], argv[2]);
  return 0;
}
