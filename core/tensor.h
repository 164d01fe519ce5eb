#pragma once
// The tensor: one shared pointer to {storage, shape, strides, offset, dtype, gradient record}.
// Copies of a Tensor are the same tensor; views are other shapes over the same storage. Everything
// declared here that computes is recorded for backward() (defined in autograd); the non-recording
// versions are in core/raw.h.
#include <loupe/core/dtype.h>
#include <loupe/core/memory.h>
#include <loupe/core/number.h>
#include <loupe/core/place.h>
#include <loupe/core/random.h>
#include <loupe/core/shape.h>

#include <iosfwd>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace loupe {

struct GradMeta;  // autograd/graph.h
class Index;      // autograd/ops/indexing.h
class Tensor;

/// Parameter type of every op: a tensor and the caller's line, which errors end with while the
/// parameter lives. Holds a reference: never store one.
struct In {
  const Tensor& t;
  Here here;
  In(const Tensor& tensor, const char* file = __builtin_FILE(), int line = __builtin_LINE())
      : t(tensor), here(file, line) {}
  operator const Tensor&() const { return t; }
  const Tensor* operator->() const { return &t; }
};

/// A position, and the caller's line.
struct At {
  int64_t index;
  Here here;
  At(int64_t i, const char* file = __builtin_FILE(), int line = __builtin_LINE())
      : index(i), here(file, line) {}
};

class Tensor {
 public:
  /// An undefined tensor: stands for "no bias", "no mask", "no gradient".
  Tensor() = default;
  /// A tensor over existing memory; `strides` in elements, one per dimension.
  Tensor(std::shared_ptr<Storage> storage, Shape shape, Strides strides, int64_t offset,
         DType dtype);

  // --- What it is ---
  bool defined() const { return impl_ != nullptr; }
  const Shape& shape() const { return impl().shape; }
  const Strides& strides() const { return impl().strides; }
  DType dtype() const { return impl().dtype; }
  int dim() const { return impl().shape.rank(); }
  /// The size of one dimension, counted from the end when negative. IndexError outside.
  int64_t size(int64_t axis, Here here = {}) const;
  int64_t numel() const { return impl().shape.numel(); }
  int64_t offset() const { return impl().offset; }
  const std::shared_ptr<Storage>& storage() const { return impl().storage; }
  bool is_same(const Tensor& other) const { return impl_ == other.impl_; }
  /// How many handles share this very tensor (views and gradients' edges are other tensors).
  long use_count() const { return impl_.use_count(); }

  // --- Its elements ---
  /// The address of element (0, ..., 0), whatever the strides. DtypeError if T is another type. For
  /// kernels.
  template <class T> T* ptr() const {
    check_dtype(dtype_of<T>());
    return static_cast<T*>(impl().storage->data()) + impl().offset;
  }
  /// The elements in row-major order; ShapeError if memory is not row-major: call contiguous()
  /// first.
  template <class T> std::span<T> data(Here /*here*/ = {}) const {
    check_row_major();
    return {ptr<T>(), static_cast<size_t>(numel())};
  }
  /// The value of a tensor with one element, converted to T: integers stay exact, a part behind the
  /// point is cut. ValueError where an integer T cannot hold it.
  template <class T = double> T item(Here /*here*/ = {}) const {
    if constexpr (std::is_same_v<T, bool>) return item_as_double() != 0;
    else if constexpr (std::is_integral_v<T>) {
      const int64_t value = item_as_integer();
      if (!std::in_range<T>(value)) item_out_of_range();
      return static_cast<T>(value);
    } else return static_cast<T>(item_as_double());
  }
  /// The elements in row-major order, converted to T.
  template <class T> std::vector<T> to_vector(Here here = {}) const;

  // --- Gradients (autograd) ---
  /// Whether backward() reaches this tensor: a leaf with requires_grad_(), or computed from one.
  bool requires_grad() const;
  /// Marks a leaf. GradError on a computed tensor; DtypeError unless f32 or f64.
  Tensor& requires_grad_(bool on = true, Here here = {});
  /// True if no recorded op made it.
  bool is_leaf() const;
  /// The accumulated gradient of a leaf; undefined before the first backward().
  const Tensor& grad() const;
  void set_grad(const Tensor& g, Here here = {}) const;
  /// Drops the gradient; the next backward() starts anew.
  void zero_grad() const { set_grad(Tensor()); }
  /// Adds d(this)/d(leaf) to every leaf's grad(). This must be one number, or `upstream` of its
  /// shape be given. Frees the graph unless retain_graph. For gradients as results, or of higher
  /// order, see grad() in autograd/autograd.h.
  void backward(const Tensor& upstream = Tensor(), bool retain_graph = false, Here here = {}) const;
  /// The same values, without a past. Shares memory.
  Tensor detach() const;

  // --- Views: share memory, recorded ---
  /// Same elements in row-major order under another shape; one size may be -1. A view where memory
  /// allows, else a copy.
  Tensor reshape(const Shape& shape, Here here = {}) const;
  /// Dimensions first..last become one.
  Tensor flatten(int64_t first = 0, int64_t last = -1, Here here = {}) const;
  Tensor transpose(int64_t axis0, int64_t axis1, Here here = {}) const;
  /// Swaps the last two dimensions.
  Tensor t(Here here = {}) const;
  Tensor permute(const Dims& axes, Here here = {}) const;
  /// Elements start, start+step, ... before stop of one dimension; negative positions count from
  /// the end, and positions beyond the end are clamped, as in Python. step must be positive.
  Tensor slice(int64_t axis, int64_t start, int64_t stop = INT64_MAX, int64_t step = 1,
               Here here = {}) const;
  /// One position of a dimension, which disappears.
  Tensor select(int64_t axis, int64_t index, Here here = {}) const;
  /// select(0, index).
  Tensor operator[](At at) const { return select(0, at.index, at.here); }
  /// Several dimensions at once, as in PyTorch: x.index({Slice(1, 5), None, Ellipsis, rows}), see
  /// autograd/ops/indexing.h. A view, but a copy where a tensor is among the indices.
  Tensor index(const std::vector<Index>& at, Here here = {}) const;
  /// Repeats dimensions of size 1 without copying; -1 keeps a size.
  Tensor expand(const Shape& shape, Here here = {}) const;
  /// Removes a dimension of size 1 (all of them without an argument).
  Tensor squeeze(std::optional<int64_t> axis = {}, Here here = {}) const;
  Tensor unsqueeze(int64_t axis, Here here = {}) const;
  /// Itself if row-major dense, else a row-major copy.
  Tensor contiguous(Here here = {}) const;

  // --- Reductions and conversions, recorded ---
  /// No axes: over all.
  Tensor sum(const Dims& axes = {}, bool keepdim = false, Here here = {}) const;
  Tensor mean(const Dims& axes = {}, bool keepdim = false, Here here = {}) const;
  /// Another element type; itself if it is that already. Differentiable between f32 and f64.
  Tensor to(DType dtype, Here here = {}) const;
  /// A copy with memory of its own (the strides of a dense tensor are kept).
  Tensor clone(Here here = {}) const;

  // --- In place: bump the version; GradError in grad mode on a tensor that needs a gradient ---
  /// Copies `src` (broadcast, converted) into this tensor.
  const Tensor& copy_(const Tensor& src, Here here = {}) const;
  /// Every element becomes `value`; an integer tensor cuts a part behind the point.
  const Tensor& fill_(Number value, Here here = {}) const;
  const Tensor& zero_(Here here = {}) const { return fill_(0, here); }
  /// this += alpha * other (broadcast).
  const Tensor& add_(const Tensor& other, Number alpha = 1, Here here = {}) const;
  const Tensor& mul_(const Tensor& other, Here here = {}) const;
  const Tensor& mul_(Number factor, Here here = {}) const;
  /// Fills with uniform numbers in [low, high) (floating types).
  const Tensor& uniform_(Rng& rng, double low = 0, double high = 1, Here here = {}) const;
  /// Fills with normal numbers.
  const Tensor& normal_(Rng& rng, double mean = 0, double std = 1, Here here = {}) const;

  /// Takes the memory, layout and element type of `source`, of the same shape, and keeps everything
  /// else: all who hold this tensor see the new elements (PyTorch's `x.data = source`). Not
  /// recorded; drops a gradient of another element type. GradError on a computed tensor, ShapeError
  /// on another shape.
  void set_data(const Tensor& source, Here here = {});

  // --- For autograd ---
  const std::shared_ptr<GradMeta>& grad_meta() const { return impl().meta; }
  void set_grad_meta(std::shared_ptr<GradMeta> meta) const { impl_->meta = std::move(meta); }

 private:
  struct Impl {
    std::shared_ptr<Storage> storage;
    Shape shape;
    Strides strides;
    int64_t offset = 0;
    DType dtype = DType::f32;
    std::shared_ptr<GradMeta> meta;
  };
  const Impl& impl() const {
    if (!impl_) undefined();
    return *impl_;
  }
  [[noreturn]] static void undefined();
  void check_dtype(DType wanted) const;
  void check_row_major() const;
  double item_as_double() const;
  int64_t item_as_integer() const;
  [[noreturn]] void item_out_of_range() const;

  std::shared_ptr<Impl> impl_;
};

// --- Factories. Shapes as {2, 3}; the default element type is f32. ---
namespace raw {
/// Uninitialised (NaN-filled in debug and sanitizer builds).
Tensor empty(const Shape& shape, DType dtype = DType::f32, Here here = {});
/// The shape and type of t, with t's strides if its memory is dense.
Tensor empty_like(const Tensor& t, Here here = {});
Tensor zeros(const Shape& shape, DType dtype = DType::f32, Here here = {});
}  // namespace raw
using raw::empty;
using raw::empty_like;
using raw::zeros;
Tensor ones(const Shape& shape, DType dtype = DType::f32, Here here = {});
Tensor full(const Shape& shape, Number value, DType dtype = DType::f32, Here here = {});
/// The 0-dimensional tensor that holds one number.
Tensor scalar(Number value, DType dtype = DType::f32, Here here = {});
Tensor zeros_like(const Tensor& t, Here here = {});
Tensor ones_like(const Tensor& t, Here here = {});
/// start, start + step, ... before stop. ValueError if step is 0 or points away from stop, or if an
/// integer type cannot hold a number; DtypeError for bool, and for a start or step with a part
/// behind the point in an integer type. With a step that binary numbers cannot hold exactly (0.1),
/// rounding may add stop itself: use linspace.
Tensor arange(Number start, Number stop, Number step = 1, DType dtype = DType::i64, Here here = {});
inline Tensor arange(int64_t n, Here here = {}) { return arange(0, n, 1, DType::i64, here); }
/// `steps` numbers from first to last, both included. ValueError for a negative count and for NaN
/// or infinite ends.
Tensor linspace(double first, double last, int64_t steps, DType dtype = DType::f32, Here here = {});
Tensor eye(int64_t n, DType dtype = DType::f32, Here here = {});
/// A copy of `values` under `shape`; without a shape, one dimension. ShapeError if the counts
/// differ.
template <class T>
Tensor from_data(const std::vector<T>& values, std::optional<Shape> shape = {}, Here here = {});
/// from_data with converted elements: tensor({1, 2, 3}) is f32.
Tensor tensor(std::initializer_list<double> values, std::optional<Shape> shape = {},
              DType dtype = DType::f32, Here here = {});
/// Standard normal numbers.
Tensor randn(Rng& rng, const Shape& shape, DType dtype = DType::f32, Here here = {});
/// Uniform numbers in [low, high), or all low where high = low. ValueError if low > high, or if the
/// range is infinite.
Tensor uniform(Rng& rng, const Shape& shape, double low = 0, double high = 1,
               DType dtype = DType::f32, Here here = {});
/// Uniform integers in [low, high), i64.
Tensor randint(Rng& rng, int64_t low, int64_t high, const Shape& shape, Here here = {});
/// 0..n-1 in random order, i64.
Tensor permutation(Rng& rng, int64_t n, Here here = {});

// --- Arithmetic, recorded (autograd/ops/elementwise.h has the functions). A number takes the
// tensor's dtype: DtypeError for a part behind the point, ValueError for a number out of range,
// where the tensor holds integers. Integers wrap around on overflow. ---
Tensor operator+(In a, In b);
Tensor operator+(In a, Number b);
Tensor operator+(Number a, In b);
Tensor operator-(In a, In b);
Tensor operator-(In a, Number b);
Tensor operator-(Number a, In b);
Tensor operator*(In a, In b);
Tensor operator*(In a, Number b);
Tensor operator*(Number a, In b);
Tensor operator/(In a, In b);
Tensor operator/(In a, Number b);
Tensor operator/(Number a, In b);
Tensor operator-(In a);

/// The values, as PyTorch prints them; the type unless it is f32; the shape where the tensor is
/// empty or shortened. A tensor of more than 1000 elements is shortened to its corners, as NumPy
/// does.
std::string to_string(const Tensor& t);
std::ostream& operator<<(std::ostream& out, const Tensor& t);

}  // namespace loupe
