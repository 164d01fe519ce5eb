#pragma once
// NumPy's files: .npy (one array) and .npz (a zip of them).
#include <loupe/io/file.h>
#include <loupe/io/file_tensors.h>

#include <map>
#include <string>

namespace loupe {

/// Reads a .npy file, versions 1 to 3, either byte order, C or Fortran order, headers of Python 2
/// too. f2 becomes f32; i1, i2, i4 and u2, u4, u8 become i64. IoError, with file, offset and
/// reason, for anything else (objects, strings, complex, a u8 above 2^63 - 1).
Tensor load_npy(const std::string& path);
Tensor load_npy(Bytes bytes, const std::string& name);
/// Writes atomically, byte for byte as numpy.save does.
void save_npy(const std::string& path, const Tensor& t);

/// Reads a .npz file (stored or deflated, with CRC check). Names come without their ".npy". Arrays
/// that load_npy has no type for, and files that are no arrays, stand in `unread`; damage is an
/// IoError.
FileTensors load_npz(const std::string& path);
FileTensors load_npz(Bytes bytes, const std::string& name);
/// Writes atomically, stored without compression as numpy.savez does. ValueError for an unusable
/// name.
void save_npz(const std::string& path, const std::map<std::string, Tensor>& arrays);

}  // namespace loupe
