#include <loupe/autograd/graph.h>
#include <loupe/autograd/ops/elementwise.h>
#include <loupe/autograd/ops/embedding.h>
#include <loupe/autograd/ops/index.h>
#include <loupe/core/kernels/rowwise/embedding.h>

namespace loupe {
namespace {

struct EmbeddingNode final : Node {
  SavedTensor indices{this, "indices"};
  int64_t entries = 0, padding = -1;  // -1: none
  const char* name() const override { return "embedding"; }
  Attributes attributes() const override { return {{"padding_idx", padding}}; }
  Tensors replay(const Tensors& x) const override {
    return {embedding(x[0], x[1], {padding < 0 ? std::nullopt : std::optional(padding)})};
  }
  Tensors backward(const Tensors& dy) override {
    const Tensor index = indices.get(), &g = dy[0];
    const int64_t count = index.numel(), width = g.size(-1);
    if (grad_enabled()) {
      const Tensor flat = index.reshape({count, 1});
      // Not a product with 0: an infinite gradient of a padding row must vanish too.
      const Tensor rows = g.reshape({count, width});
      const Tensor kept = masked_fill(rows, eq(flat, static_cast<double>(padding)), 0);
      return {Tensor(), scatter_add(kept, 0, flat.expand({count, width}), {entries, width})};
    }
    const Tensor rows = raw::row_major(g), dw = raw::empty({entries, width}, g.dtype());
    dispatch_floating(g.dtype(), name(), [&]<class T>(Type<T>) {
      kernels::embedding_backward({count, width, entries}, rows.ptr<T>(), index.ptr<int64_t>(),
                                  padding, dw.ptr<T>());
    });
    return {Tensor(), dw};
  }
};

}  // namespace

Tensor embedding(In indices, In weight, const EmbeddingOptions& options) {
  if (indices->dtype() != DType::i64)
    fail<DtypeError>("embedding: the indices must be i64, got {}", indices->dtype());
  if (weight->dim() != 2)
    fail<ShapeError>("embedding: the weight must be (entries, width), got {}", weight->shape());
  const int64_t entries = weight->size(0), width = weight->size(1);
  int64_t padding = options.padding_idx.value_or(-1);
  if (options.padding_idx) {
    if (padding < -entries || padding >= entries)
      fail<IndexError>("embedding: padding_idx {} is outside [{}, {})", padding, -entries, entries);
    if (padding < 0) padding += entries;
  }
  const Tensor index = raw::row_major(indices), table = raw::row_major(weight);
  for (int64_t i = 0; const int64_t row : index.data<int64_t>()) {
    if (row < 0 || row >= entries)
      fail<IndexError>(
          "embedding: index {} at position {} is outside [0, {}), the rows of the weight", row, i,
          entries);
    ++i;
  }
  Shape shape = indices->shape();
  shape.push_back(width);
  Tensor y = raw::empty(shape, weight->dtype());
  dispatch_floating(weight->dtype(), "embedding", [&]<class T>(Type<T>) {
    kernels::embedding({index.numel(), width, entries}, table.ptr<T>(), index.ptr<int64_t>(),
                       y.ptr<T>());
  });
  if (auto n = record<EmbeddingNode>({indices, weight}, y)) {
    n->indices.input(index);
    n->entries = entries;
    n->padding = padding;
  }
  return y;
}

}  // namespace loupe
