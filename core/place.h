#pragma once
// Where in the user's program and in the model the code runs: the source line of the call and the
// layer's path. Errors end with it, and recorded ops keep it.
#include <loupe/core/pinned.h>

#include <string>

namespace loupe {

/// A source line.
struct Site {
  const char* file = "";
  int line = 0;
};
/// "model.cpp:12": the file's name without its folders.
std::string to_string(Site site);

class Here;

namespace detail {
// The backward rule that runs: the op's name, the line and the path of its forward call.
struct Rule {
  const char* op;
  Site forward;
  int path;
};
// What a thread knows of its place. All pointers lead to objects that live on the stack.
struct Place {
  Here* call = nullptr;        // the innermost call of the library
  Here* entry = nullptr;       // the call that entered the outermost module or the backward pass
  const Site* site = nullptr;  // of the outermost SiteScope
  const Rule* rule = nullptr;
  int path = 0;
  bool watched = false;  // somebody hears of the ops (core/stretch.h, autograd/watch.h)
};
extern constinit thread_local Place t_place;
// The outermost call of the library begins now.
void entered();
}  // namespace detail

/// The caller's source line, as the last parameter of a function: `Here here = {}`. While it lives,
/// errors thrown on its thread end with this line. A copy only carries the line. Here lives on the
/// stack of one thread: never store one, keep a Site.
class Here : public Site {
  // Not made from anything a caller can write: else the 0 of arange(5, 0) would be a null file
  // name.
  struct Implied {
    explicit Implied() = default;
  };

 public:
  Here(Implied = Implied(), const char* f = __builtin_FILE(), int l = __builtin_LINE())
      : Here(f, l) {}
  Here(const char* f, int l) : Site{f, l}, outer_(detail::t_place.call) {
    if (detail::t_place.watched && !outer_) [[unlikely]]
      detail::entered();
    detail::t_place.call = this;
  }
  Here(const Here& other) : Site(other), outer_(this) {}
  Here& operator=(const Here&) = delete;
  ~Here() {
    if (detail::t_place.entry == this) detail::t_place.entry = nullptr;
    if (detail::t_place.call == this) detail::t_place.call = outer_;
    else if (outer_ != this) unlink();
  }
  /// The call around this one; nullptr at the outermost.
  Here* outer() const { return outer_; }

 private:
  void unlink();
  Here* outer_;  // itself in a copy, which is not on the list
};

/// `text` with the place of the code that runs, if it runs inside a call of the library:
///   text (in layer1.0.conv1, train.cpp:41)
///   text (in head, model.cpp:12, called at train.cpp:41)        a module of the user's
///   text (in the backward of mul (model.cpp:12, in head), called at train.cpp:50)
/// Lines of the library itself are left out. The errors of core/error.h call it.
std::string with_place(const std::string& text);

/// Ops called while one of these lives report its site: composite ops and backward rules use it
/// (the outermost wins).
class SiteScope : Pinned {
 public:
  explicit SiteScope(Site site);
  ~SiteScope();

 private:
  const Site* before_;
  Site site_;
};
/// The site an op called here reports: `here`, or the enclosing SiteScope's. Where that is a line
/// of the library's own (a layer's header), the line that called it.
Site current_site(Site here);

/// A number for a module path; the same path gives the same number. 0 is the empty path.
int path_id(const std::string& path);
/// The path of a number that path_id gave.
const std::string& path_name(int id);

/// Ops recorded while one of these lives carry a path: `name` appended to the enclosing scopes', or
/// a whole path by its number (0 keeps the enclosing one).
class PathScope : Pinned {
 public:
  explicit PathScope(const std::string& name);
  explicit PathScope(int id);
  ~PathScope();

 private:
  int before_;
  Here* entry_before_;
};
/// The path of the enclosing scopes, e.g. "blocks.0.attn".
const std::string& current_path();

/// While one lives, a backward rule runs: ops report the line and the path of its forward call, and
/// errors name the op.
class RuleScope : Pinned {
 public:
  RuleScope(const char* op, Site forward, int path);
  ~RuleScope();

 private:
  detail::Rule rule_;
  const detail::Rule* before_;
  SiteScope site_;
  PathScope path_;
};

}  // namespace loupe
