#pragma once
// Rows of a table chosen by index, and their gradients added up. The fast loops give the plain
// ones' bits.
#include <cstdint>

namespace loupe::kernels {

struct EmbeddingShape {
  int64_t count;    // indices
  int64_t width;    // elements of a row
  int64_t entries;  // rows of the table
};

/// out[i] = table[index[i]].
template <class T>
void embedding(const EmbeddingShape& s, const T* table, const int64_t* index, T* out);
/// dtable[index[i]] += dout[i] in the order of i, after dtable (entries x width) is set to zero;
/// rows whose index is `skip` add nothing.
template <class T>
void embedding_backward(const EmbeddingShape& s, const T* dout, const int64_t* index, int64_t skip,
                        T* dtable);

/// The same, index after index.
namespace plain {

template <class T>
void embedding(const EmbeddingShape& s, const T* table, const int64_t* index, T* out);
template <class T>
void embedding_backward(const EmbeddingShape& s, const T* dout, const int64_t* index, int64_t skip,
                        T* dtable);

}  // namespace plain
}  // namespace loupe::kernels
