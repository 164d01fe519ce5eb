#pragma once
// Rows of a table chosen by index, and their gradients added up.
#include <cstdint>

namespace loupe::kernels {

/// out[i] = table[index[i]], rows of `width` elements.
template <class T>
void embedding(int64_t count, int64_t width, const T* table, const int64_t* index, T* out);
/// dtable[index[i]] += dout[i] in the order of i, after dtable (entries x width) is set to zero;
/// rows whose index is `skip` add nothing. A piece owns a range of the table's rows: no two write
/// the same one.
template <class T>
void embedding_backward(int64_t count, int64_t width, int64_t entries, const T* dout,
                        const int64_t* index, int64_t skip, T* dtable);

}  // namespace loupe::kernels
