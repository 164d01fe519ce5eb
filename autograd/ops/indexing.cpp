#include <loupe/autograd/graph.h>
#include <loupe/autograd/ops/index.h>
#include <loupe/autograd/ops/indexing.h>
#include <loupe/autograd/ops/rearrange.h>
#include <loupe/autograd/ops/views.h>

#include <vector>

namespace loupe {
namespace {

// Positions that a tensor names along one dimension of what is being indexed.
struct Chosen {
  int axis;
  Tensor positions;  // i64
};

// How many dimensions of x an entry takes.
int takes(const Index::Value& v) {
  if (std::holds_alternative<NoneType>(v) || std::holds_alternative<EllipsisType>(v)) return 0;
  const Tensor* t = std::get_if<Tensor>(&v);
  return t && t->dtype() == DType::boolean ? t->dim() : 1;
}

// Walks over the entries; views are taken at once, tensors are collected.
class Indexing {
 public:
  Indexing(const Tensor& x, const std::vector<Index>& at) : y_(x) {
    int taken = 0, ellipses = 0;
    for (const Index& i : at) {
      taken += takes(i.value());
      ellipses += std::holds_alternative<EllipsisType>(i.value()) ? 1 : 0;
    }
    if (taken > x.dim()) fail<IndexError>("index: {} indices for shape {}", taken, x.shape());
    if (ellipses > 1) fail<IndexError>("index: more than one Ellipsis");
    whole_ = x.dim() - taken;
    for (const Index& i : at) std::visit([this](const auto& entry) { add(entry); }, i.value());
  }

  Tensor result() const { return chosen_.empty() ? y_ : at_positions(); }

 private:
  void add(NoneType /*none*/) { y_ = unsqueeze(y_, axis_++); }
  void add(EllipsisType /*ellipsis*/) { axis_ += whole_; }
  void add(int64_t position) {
    const int64_t n = y_.size(axis_);
    if (position < -n || position >= n)
      fail<IndexError>("index: position {} is outside [{}, {}) of dimension {} of shape {}",
                       position, -n, n, axis_, y_.shape());
    y_ = select(y_, axis_, position);
  }
  void add(const Slice& s) {
    if (s.step < 1) fail<ValueError>("index: the step of a Slice must be positive, got {}", s.step);
    y_ = slice(y_, axis_++, s.start.value_or(0), s.stop.value_or(INT64_MAX), s.step);
  }
  void add(const Tensor& t) {
    if (t.dtype() == DType::boolean) return add_mask(t);
    if (t.dtype() != DType::i64)
      fail<DtypeError>("index: a tensor of indices must be i64, or bool for a mask, got {}",
                       t.dtype());
    if (t.dim() == 0) return add(t.item<int64_t>());
    chosen_.push_back({axis_++, t});
  }
  // A mask over dimensions is the positions along each of them where it is true; one without
  // dimensions adds a dimension of size 1 or 0.
  void add_mask(const Tensor& mask) {
    if (mask.dim() == 0) {
      y_ = unsqueeze(y_, axis_);
      chosen_.push_back({axis_++, arange(mask.item<int64_t>())});
      return;
    }
    for (int d = 0; d < mask.dim(); ++d)
      if (mask.shape()[d] != y_.shape()[axis_ + d])
        fail<IndexError>("index: a mask of shape {} does not fit dimension {} of shape {}",
                         mask.shape(), axis_ + d, y_.shape());
    const Tensor places = nonzero(mask);
    for (int d = 0; d < mask.dim(); ++d) chosen_.push_back({axis_++, raw::select(places, 1, d)});
  }

  // The dimensions with tensors go to the front and become one, whose rows are chosen by number.
  Tensor at_positions() const {
    Shape shape = chosen_[0].positions.shape();
    for (const Chosen& c : chosen_) shape = broadcast_shapes(shape, c.positions.shape(), "index");
    Dims axes, front;
    Shape rest;
    bool indexed[kMaxRank] = {};
    for (const Chosen& c : chosen_) {
      front.push_back(axes.rank());
      axes.push_back(c.axis);
      indexed[c.axis] = true;
    }
    for (int d = 0; d < y_.dim(); ++d)
      if (!indexed[d]) rest.push_back(y_.shape()[d]);
    const Tensor numbers = row_numbers(shape);
    Shape rows = rest, wanted = shape;
    rows.insert(0, indexed_sizes());
    for (const int64_t n : rest) wanted.push_back(n);
    const Tensor picked = index_select(movedim(y_, axes, front).reshape(rows), 0, numbers);
    const Tensor y = picked.reshape(wanted);
    // Side by side, they put their dimensions in their place.
    const int first = chosen_.front().axis, last = chosen_.back().axis;
    if (first == 0 || last - first + 1 != axes.rank()) return y;
    Dims from, to;
    for (int d = 0; d < shape.rank(); ++d) {
      from.push_back(d);
      to.push_back(first + d);
    }
    return movedim(y, from, to);
  }

  int64_t indexed_sizes() const {
    int64_t n = 1;
    for (const Chosen& c : chosen_) n *= y_.shape()[c.axis];
    return n;
  }

  // Which row of the merged dimensions each combination of positions names, in one dimension.
  Tensor row_numbers(const Shape& shape) const {
    const Tensor numbers = raw::zeros({shape.numel()}, DType::i64);
    int64_t* const to = numbers.ptr<int64_t>();
    for (const Chosen& c : chosen_) {
      const int64_t n = y_.shape()[c.axis];
      const Tensor positions = raw::row_major(raw::expand(c.positions, shape));
      const int64_t* const p = positions.ptr<int64_t>();
      for (int64_t i = 0; i < numbers.numel(); ++i) {
        if (p[i] < -n || p[i] >= n)
          fail<IndexError>("index: position {} is outside [{}, {}) of dimension {} of shape {}",
                           p[i], -n, n, c.axis, y_.shape());
        to[i] = to[i] * n + (p[i] < 0 ? p[i] + n : p[i]);
      }
    }
    return numbers;
  }

  Tensor y_;
  int axis_ = 0, whole_ = 0;
  std::vector<Chosen> chosen_;
};

}  // namespace

Tensor Tensor::index(const std::vector<Index>& at, Here here) const {
  SiteScope site(here);
  return Indexing(*this, at).result();
}

}  // namespace loupe
