// Views: other shapes, strides and offsets over the same storage.
#include <loupe/core/raw.h>

#include <algorithm>

namespace loupe::raw {

Tensor view(const Tensor& t, const Shape& shape, const Strides& strides, int64_t offset) {
  return Tensor(t.storage(), shape, strides, t.offset() + offset, t.dtype());
}

Shape resolve_shape(const Tensor& t, const Shape& shape, const char* op) {
  Shape out = shape;
  int unknown = -1;
  int64_t known = 1;
  for (int i = 0; i < out.rank(); ++i) {
    if (out[i] == -1 && unknown < 0) unknown = i;
    else if (out[i] < 0)
      fail<ShapeError>("{}: shape {} has {} negative size", op, shape,
                       out[i] == -1 ? "a second" : "a");
    else if (__builtin_mul_overflow(known, out[i], &known))
      fail<ShapeError>("{}: shape {} has more elements than memory can address", op, shape);
  }
  if (unknown >= 0) {
    if (known == 0 || t.numel() % known != 0)
      fail<ShapeError>("{}: {} elements of shape {} do not fit {}", op, t.numel(), t.shape(),
                       shape);
    out[unknown] = t.numel() / known;
  } else if (known != t.numel()) {
    fail<ShapeError>("{}: {} elements of shape {} do not fit {}, which has {}", op, t.numel(),
                     t.shape(), shape, known);
  }
  return out;
}

std::optional<Strides> view_strides(const Tensor& t, const Shape& shape) {
  if (t.numel() == 0 || is_row_major(t)) return row_major_strides(shape);
  // Walk both shapes from the end; each run of old dimensions that is contiguous in itself may be
  // cut anew.
  Strides out = shape;
  int at = shape.rank() - 1;
  int64_t run = 1, base = 1;  // elements of the current run, stride of its last dimension
  bool started = false;
  for (int i = t.dim() - 1; i >= 0; --i) {
    if (t.shape()[i] == 1) continue;
    if (!started) {
      base = t.strides()[i];
      run = t.shape()[i];
      started = true;
    } else if (t.strides()[i] == base * run) {
      run *= t.shape()[i];
      continue;
    } else {
      int64_t filled = 1;
      while (at >= 0 && filled < run) {
        out[at] = base * filled;
        filled *= shape[at--];
      }
      if (filled != run) return std::nullopt;
      base = t.strides()[i];
      run = t.shape()[i];
    }
  }
  int64_t filled = 1;
  for (; at >= 0; --at) {
    out[at] = base * filled;
    filled *= shape[at];
  }
  return filled == run ? std::optional(out) : std::nullopt;
}

Tensor reshape(const Tensor& t, const Shape& wanted) {
  const Shape shape = resolve_shape(t, wanted, "reshape");
  if (const auto strides = view_strides(t, shape)) return view(t, shape, *strides, 0);
  Tensor dense = row_major(t);
  return view(dense, shape, row_major_strides(shape), 0);
}

Tensor transpose(const Tensor& t, int64_t axis0, int64_t axis1) {
  const int a = normalize_axis(axis0, t.dim(), "transpose"),
            b = normalize_axis(axis1, t.dim(), "transpose");
  Shape shape = t.shape();
  Strides strides = t.strides();
  std::swap(shape[a], shape[b]);
  std::swap(strides[a], strides[b]);
  return view(t, shape, strides, 0);
}

Tensor permute(const Tensor& t, const Dims& axes) {
  if (axes.rank() != t.dim())
    fail<ShapeError>("permute: {} axes for shape {}", axes.rank(), t.shape());
  Shape shape = t.shape();
  Strides strides = t.strides();
  bool seen[kMaxRank] = {};
  for (int i = 0; i < axes.rank(); ++i) {
    const int from = normalize_axis(axes[i], t.dim(), "permute");
    if (seen[from]) fail<ValueError>("permute: axis {} stands twice in {}", from, axes);
    seen[from] = true;
    shape[i] = t.shape()[from];
    strides[i] = t.strides()[from];
  }
  return view(t, shape, strides, 0);
}

Tensor slice(const Tensor& t, int64_t axis, int64_t start, int64_t stop, int64_t step) {
  const int a = normalize_axis(axis, t.dim(), "slice");
  if (t.dim() == 0) fail<IndexError>("slice: a tensor without dimensions cannot be sliced");
  if (step < 1) fail<ValueError>("slice: step {} must be positive", step);
  const int64_t n = t.shape()[a];
  if (start < 0) start += n;
  if (stop < 0) stop += n;
  step = std::clamp<int64_t>(step, 1,
                             std::max<int64_t>(n, 1));  // a larger one reaches no second element
  start = std::clamp<int64_t>(start, 0, n);
  stop = std::clamp<int64_t>(stop, start, n);
  Shape shape = t.shape();
  Strides strides = t.strides();
  shape[a] = (stop - start + step - 1) / step;
  strides[a] *= step;
  return view(t, shape, strides, start * t.strides()[a]);
}

Tensor select(const Tensor& t, int64_t axis, int64_t index) {
  const int a = normalize_axis(axis, t.dim(), "select");
  if (t.dim() == 0) fail<IndexError>("select: a tensor without dimensions has no positions");
  const int64_t n = t.shape()[a], i = index < 0 ? index + n : index;
  if (i < 0 || i >= n)
    fail<IndexError>("select: index {} is outside dimension {} of shape {}", index, a, t.shape());
  Shape shape = t.shape();
  Strides strides = t.strides();
  shape.erase(a);
  strides.erase(a);
  return view(t, shape, strides, i * t.strides()[a]);
}

Tensor expand(const Tensor& t, const Shape& wanted) {
  if (wanted.rank() < t.dim())
    fail<ShapeError>("expand: shape {} has more dimensions than {}", t.shape(), wanted);
  Shape shape = wanted;
  Strides strides = wanted;
  const int shift = wanted.rank() - t.dim();
  int64_t total = 1;
  for (int i = 0; i < wanted.rank(); ++i) {
    const int64_t have = i < shift ? 1 : t.shape()[i - shift];
    if (shape[i] == -1 && i >= shift) shape[i] = have;
    if (shape[i] < 0 || (have != 1 && have != shape[i]))
      fail<ShapeError>("expand: shape {} does not expand to {}", t.shape(), wanted);
    if (__builtin_mul_overflow(total, shape[i], &total))
      fail<ShapeError>("expand: shape {} has more elements than memory can address", wanted);
    const bool repeated = i < shift || (have == 1 && shape[i] != 1);
    strides[i] = repeated ? 0 : t.strides()[i - shift];
  }
  return view(t, shape, strides, 0);
}

Tensor squeeze(const Tensor& t, std::optional<int64_t> axis) {
  Shape shape = t.shape();
  Strides strides = t.strides();
  const int only = axis ? normalize_axis(*axis, t.dim(), "squeeze") : -1;
  for (int i = shape.rank() - 1; i >= 0; --i)
    if (shape[i] == 1 && (!axis || i == only)) {
      shape.erase(i);
      strides.erase(i);
    }
  return view(t, shape, strides, 0);
}

Tensor unsqueeze(const Tensor& t, int64_t axis) {
  const int a = normalize_axis(axis, t.dim() + 1, "unsqueeze");
  Shape shape = t.shape();
  Strides strides = t.strides();
  strides.insert(a, a < t.dim() ? t.shape()[a] * t.strides()[a] : 1);
  shape.insert(a, 1);
  return view(t, shape, strides, 0);
}

Dims normalize_axes(const Dims& axes, int rank, const char* op) {
  bool chosen[kMaxRank] = {};
  for (int64_t axis : axes) {
    const int a = normalize_axis(axis, rank, op);
    if (chosen[a]) fail<ValueError>("{}: axis {} stands twice in {}", op, a, axes);
    chosen[a] = true;
  }
  Dims out;
  for (int i = 0; i < rank; ++i)
    if (chosen[i] || axes.empty()) out.push_back(i);
  return out;
}

Shape reduced_shape(const Shape& shape, const Dims& axes, bool keepdim) {
  Shape out = shape;
  for (int i = axes.rank() - 1; i >= 0; --i) {
    const int a = static_cast<int>(axes[i]);
    if (keepdim) out[a] = 1;
    else out.erase(a);
  }
  return out;
}

}  // namespace loupe::raw
