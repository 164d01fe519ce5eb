#include <fmt/core.h>
#include <loupe/core/place.h>

#include <cstdint>
#include <deque>
#include <mutex>
#include <string_view>
#include <unordered_map>

namespace loupe {

constinit thread_local detail::Place detail::t_place;
using detail::t_place;

namespace {

// Module paths are numbered once, so that a Node carries an int. Never destroyed: Nodes in globals
// may outlive statics.
struct Paths {
  std::mutex mutex;
  std::deque<std::string> names{""};
  std::unordered_map<std::string_view, int> ids{{"", 0}};
  int id(const std::string& path) {
    std::lock_guard lock(mutex);
    if (const auto found = ids.find(path); found != ids.end()) return found->second;
    names.push_back(path);
    return ids[names.back()] = static_cast<int>(names.size()) - 1;
  }
  const std::string& name(int i) {
    std::lock_guard lock(mutex);
    return names[static_cast<size_t>(i)];
  }
};
Paths& paths() {
  static Paths* const p = new Paths;
  return *p;
}

// What comes before "core/place.cpp" in this file's name: the folder of the library's sources, as
// the compiler spells it.
std::string_view source_root() {
  const std::string_view self = __builtin_FILE();
  return self.substr(0, self.rfind("core/place.cpp"));
}

// Whose line it is. Models count as code that shows how a model is written: recorded ops keep their
// lines, errors do not.
enum class Owner : uint8_t { user, model, library };

Owner owner_in(std::string_view file) {
  if (file.starts_with("models/")) return Owner::model;
  for (const std::string_view folder :
       {"core/", "autograd/", "layers/", "optim/", "io/", "view/", "distributed/"})
    if (file.starts_with(folder)) return Owner::library;
  return Owner::user;
}

// The library's sources lie under source_root(), its headers wherever they were installed.
Owner owner(std::string_view file) {
  const std::string_view root = source_root();
  if (file.starts_with(root))
    if (const Owner o = owner_in(file.substr(root.size())); o != Owner::user) return o;
  const size_t at = file.rfind("loupe/");
  const bool whole_name = at == 0 || (at != file.npos && file[at - 1] == '/');
  return whole_name && file.ends_with(".h") ? owner_in(file.substr(at + 6)) : Owner::user;
}

// The same, remembered by the address of the name: ops ask at every call.
Owner owner_of(const char* file) {
  struct Known {
    const char* file = nullptr;
    Owner owner = Owner::user;
  };
  static thread_local Known known[16];
  Known& k = known[reinterpret_cast<uintptr_t>(file) / 8 % 16];
  if (k.file != file) k = {file, owner(file)};
  return k.owner;
}

// The first line of the user's, from `call` outward but not beyond `last`.
const Here* users(const Here* call, const Here* last) {
  for (; call; call = call->outer()) {
    if (owner_of(call->file) == Owner::user) return call;
    if (call == last) break;
  }
  return nullptr;
}

bool same(const Here& a, const Here& b) {
  return a.line == b.line && std::string_view(a.file) == b.file;
}

}  // namespace

void Here::unlink() {
  for (Here* inner = t_place.call; inner; inner = inner->outer_)
    if (inner->outer_ == this) {
      inner->outer_ = outer_;
      return;
    }
}

std::string to_string(Site site) {
  const std::string_view file = site.file;
  return fmt::format("{}:{}", file.substr(file.rfind('/') + 1), site.line);
}

std::string with_place(const std::string& text) {
  std::string place;
  const auto add = [&place](const std::string& part) {
    place += (place.empty() ? "" : ", ") + part;
  };
  const detail::Rule* const rule = t_place.rule;
  if (rule) {
    const std::string& path = path_name(rule->path);
    add(fmt::format("in the backward of {} ({}{}{})", rule->op, to_string(rule->forward),
                    path.empty() ? "" : ", in ", path));
  } else if (t_place.path != 0) {
    add("in " + current_path());
  }
  const Here* const entry = t_place.entry ? users(t_place.entry, nullptr) : nullptr;
  const Here* inner = users(t_place.call, t_place.entry);
  if (!inner || (entry && same(*inner, *entry))) inner = entry;
  if (inner && (inner != entry || !rule)) add(to_string(*inner));
  if (entry && (inner != entry || rule)) add("called at " + to_string(*entry));
  return place.empty() ? text : fmt::format("{} ({})", text, place);
}

SiteScope::SiteScope(Site site) : before_(t_place.site), site_(site) {
  if (!t_place.site) t_place.site = &site_;
}
SiteScope::~SiteScope() { t_place.site = before_; }
Site current_site(Site here) {
  if (t_place.site) here = *t_place.site;
  if (owner_of(here.file) != Owner::library) return here;
  for (const Here* call = t_place.call; call; call = call->outer())
    if (owner_of(call->file) != Owner::library) return *call;
  return here;
}

int path_id(const std::string& path) { return paths().id(path); }
const std::string& path_name(int id) { return paths().name(id); }

PathScope::PathScope(const std::string& name)
    : before_(t_place.path), entry_before_(t_place.entry) {
  if (!t_place.entry) t_place.entry = t_place.call;
  if (name.empty()) return;
  const std::string& outer = path_name(t_place.path);
  t_place.path = path_id(outer.empty() ? name : outer + "." + name);
}
PathScope::PathScope(int id) : before_(t_place.path), entry_before_(t_place.entry) {
  if (!t_place.entry) t_place.entry = t_place.call;
  if (id != 0) t_place.path = id;
}
PathScope::~PathScope() {
  t_place.path = before_;
  t_place.entry = entry_before_;
}
const std::string& current_path() { return path_name(t_place.path); }

RuleScope::RuleScope(const char* op, Site forward, int path)
    : rule_{op, forward, path}, before_(t_place.rule), site_(forward), path_(path) {
  t_place.rule = &rule_;
}
RuleScope::~RuleScope() { t_place.rule = before_; }

}  // namespace loupe
