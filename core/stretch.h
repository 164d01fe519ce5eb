#pragma once
// Time for those who look inside: when the work of an op began, and stretches of a step that are no
// op (loading a batch, the optimizer's step). Only a Watch (autograd/watch.h) on the thread
// listens. Without one, a call of the library costs one comparison more.
#include <loupe/core/pinned.h>

namespace loupe {

/// Seconds of a clock that never goes back.
double clock_seconds();

/// Hears of stretches on its thread.
class StretchListener {
 public:
  virtual void stretch(const char* name, double begin, double end) = 0;

 protected:
  ~StretchListener() = default;
};

/// Names a stretch of work: `const Stretch loading("load batch");`. Its time is told to the
/// thread's listener when it ends. The name must be valid until the program ends: use a literal.
class Stretch : Pinned {
 public:
  explicit Stretch(const char* name);
  ~Stretch();

 private:
  const char* name_;
  double begin_ = 0;
  StretchListener* listener_;
};

namespace detail {
StretchListener* stretch_listener();
/// Sets the thread's listener; null for none.
void set_stretch_listener(StretchListener* listener);
/// When the outermost call of the library that runs now began. 0 before the first one.
double entered_at();
}  // namespace detail

}  // namespace loupe
