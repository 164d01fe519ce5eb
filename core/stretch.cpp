#include <loupe/core/place.h>
#include <loupe/core/stretch.h>

#include <chrono>

namespace loupe {
namespace {

thread_local StretchListener* t_listener = nullptr;
thread_local double t_entered = 0;

}  // namespace

double clock_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Stretch::Stretch(const char* name) : name_(name), listener_(t_listener) {
  if (listener_) begin_ = clock_seconds();
}

Stretch::~Stretch() {
  // A listener that came or went within the stretch did not see its beginning.
  if (listener_ && listener_ == t_listener) listener_->stretch(name_, begin_, clock_seconds());
}

StretchListener* detail::stretch_listener() { return t_listener; }

void detail::set_stretch_listener(StretchListener* listener) {
  t_listener = listener;
  t_place.watched = listener != nullptr;
}

void detail::entered() { t_entered = clock_seconds(); }

double detail::entered_at() { return t_entered; }

}  // namespace loupe
